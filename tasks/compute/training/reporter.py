"""Between two steps: say how far training is, keep checkpoints, and end where that is asked."""

import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from configs.wire.host import Checkpoint, CheckpointAndExit, HostCommand, Metric, Progress, Stop
from tasks.compute.control import Control
from tasks.compute.training.checkpoint import TrainingState, save, snapshot
from tasks.compute.training.module import Segmenter

_SAY_EVERY_S = 0.5


class LeftError(Exception):
    """The parent asked us to end: raised out of Lightning's loops, caught by the caller of `fit`."""


class EnoughError(Exception):
    """The bound on steps or minutes is reached: training ends well."""


class Reporter(Callback):  # type: ignore[misc]  # Lightning's types are not read
    """Watches one training run.

    Args:
        control: Who is told.
        commands: What the parent has asked meanwhile.
        folder: Where checkpoints go.
        state: What was done in earlier attempts; kept up to date.
        max_epoch: Epochs in all, earlier attempts included.
        seed: Every epoch's randomness starts from it and the epoch, so that a resumed run repeats it.
        bounds: Most steps and most seconds in all.
    """

    def __init__(
        self,
        control: Control,
        commands: SimpleQueue[HostCommand],
        *,
        folder: Path,
        state: TrainingState,
        max_epoch: int,
        bounds: tuple[int | None, float],
    ) -> None:
        self._control = control
        self._commands = commands
        self._folder = folder
        self.state = state
        self._max_epoch = max_epoch
        self._max_steps, self._max_s = bounds
        self._earlier_s = state.seconds
        self._start = time.monotonic()
        self._said = 0.0
        self._steps_at_start = state.steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Start the clock: a validation before training does not count."""
        self._start = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """Count the step; report; obey."""
        self.state.steps += 1
        self.state.seconds = self._earlier_s + time.monotonic() - self._start
        loss = float(outputs["loss"]) if isinstance(outputs, dict) else None
        self._report(trainer, loss, last=batch_idx + 1 >= trainer.num_training_batches)
        self._obey(pl_module)
        if self._max_steps is not None and self.state.steps >= self._max_steps:
            raise EnoughError
        if self.state.seconds >= self._max_s:
            raise EnoughError

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Keep a checkpoint; by now the epoch has been validated."""
        self.state.epoch += 1
        self.keep(pl_module)

    def keep(self, module: LightningModule) -> None:
        """Write a checkpoint of this moment and tell of it."""
        fill(self.state, module)
        path = save(self.state, self._folder)
        self._control.say(Checkpoint(path=str(path), epoch=self.state.epoch))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Tell the metric and remember the best network."""
        if not isinstance(pl_module, Segmenter) or pl_module.last_mean is None:
            return
        step, value = self.state.steps, pl_module.last_mean
        self._control.say(Metric(name="val_mean_dice", step=step, value=value))
        for name, one in pl_module.last_per_label.items():
            if one is not None:
                self._control.say(Metric(name="val_dice", label=name, step=step, value=one))
        if step == 0:
            self.state.val_at_start = value
        elif self.state.best is None or value > self.state.best:
            self.state.best = value
            self.state.best_network = snapshot(pl_module.network)

    def _report(self, trainer: Trainer, loss: float | None, *, last: bool) -> None:
        """Say progress: the first step and an epoch's last at once, others at most twice a second."""
        now = time.monotonic()
        done = self.state.steps - self._steps_at_start
        if done > 1 and not last and now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        per_epoch = int(trainer.num_training_batches)
        max_step = self._max_epoch * per_epoch
        if self._max_steps is not None:
            max_step = min(max_step, self._max_steps)
        eta = (now - self._start) / done * max(0, max_step - self.state.steps)
        bounded = min(eta, max(0.0, self._max_s - self.state.seconds))
        self._control.say(
            Progress(
                epoch=self.state.epoch,
                max_epoch=self._max_epoch,
                step=self.state.steps,
                max_step=max(max_step, self.state.steps),
                eta_s=bounded,
            )
        )
        if loss is not None:
            self._control.say(Metric(name="train_loss", step=self.state.steps, value=loss))

    def _obey(self, module: LightningModule) -> None:
        """Do what the parent has asked since the last step."""
        try:
            command = self._commands.get_nowait()
        except Empty:
            return
        if isinstance(command, CheckpointAndExit):
            self.keep(module)
        if isinstance(command, CheckpointAndExit | Stop):
            raise LeftError


def fill(state: TrainingState, module: LightningModule) -> None:
    """Copy network, optimizer and scheduler into the state."""
    if not isinstance(module, Segmenter) or module.optimizer is None:
        return
    state.network = snapshot(module.network)
    state.optimizer = module.optimizer.state_dict()
    state.scheduler = module.scheduler.state_dict() if module.scheduler else None
