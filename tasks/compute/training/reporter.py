"""Between two steps: say how far training is, keep checkpoints, and end where that is asked."""

import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from configs.wire.host import Checkpoint, CheckpointAndExit, HostCommand, HostMessage, Metric, Progress, Stop
from tasks.compute.share import give_way
from tasks.compute.training.checkpoint import TrainingState, save, snapshot
from tasks.compute.training.module import Segmenter
from tasks.compute.training.team import Team

_SAY_EVERY_S = 0.5
_GO_ON, _ENOUGH, _LEAVE, _KEEP_AND_LEAVE = range(4)


class Speaker(Protocol):
    """Whoever takes what training has to say."""

    def say(self, message: HostMessage) -> None:
        """Take one message."""
        ...


class LeftError(Exception):
    """The parent asked us to end: raised out of Lightning's loops, caught by the caller of `fit`."""


class EnoughError(Exception):
    """The bound on steps or minutes is reached: training ends well."""


@dataclass(frozen=True)
class Bounds:
    """Where training ends at the latest. `patience`: validations without a better one."""

    epochs: int
    steps: int | None
    seconds: float
    patience: int | None = None


class Reporter(Callback):  # type: ignore[misc]  # Lightning's types are not read
    """Watches one training run, in every rank of it; the rank that leads speaks and writes.

    Args:
        control: Who is told.
        commands: What the parent has asked meanwhile.
        folder: Where checkpoints go.
        state: What was done in earlier attempts; kept up to date.
        bounds: Where it ends.
        team: The ranks.
        epoch_steps: Steps of a whole epoch.
    """

    def __init__(
        self,
        control: Speaker,
        commands: SimpleQueue[HostCommand],
        *,
        folder: Path,
        state: TrainingState,
        bounds: Bounds,
        team: Team,
        epoch_steps: int,
    ) -> None:
        self._control = control
        self._commands = commands
        self._folder = folder
        self.state = state
        self._bounds = bounds
        self._team = team
        self._epoch_steps = epoch_steps
        self._earlier_s = state.seconds
        self._start = time.monotonic()
        self._said = 0.0
        self._steps_at_start = state.steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Start the clock: a validation before training does not count."""
        self._start = time.monotonic()

    def on_train_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: LightningModule,
        batch: Any,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,  # noqa: ARG002 (Lightning's signature)
    ) -> None:
        """Give dropout a seed of this step, so that a resumed run repeats it."""
        if isinstance(pl_module, Segmenter):
            _seed(
                (pl_module.seed * 1_000_003 + self.state.steps) * self._team.ranks + self._team.rank, pl_module.device
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """Count the step; report; obey."""
        last = batch_idx + 1 >= trainer.num_training_batches
        self.state.steps += 1
        self.state.drawn = 0 if last else self.state.drawn + trainer.train_dataloader.batch_size * self._team.ranks
        self.state.seconds = self._earlier_s + time.monotonic() - self._start
        loss = float(outputs["loss"]) if "loss" in outputs else None
        self._note_batch(pl_module)
        if self._team.leads:
            self._report(loss, last=last)
        give_way()
        if not last:  # else the epoch ends first
            self._end_if_asked(trainer, pl_module)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Let live requests through between two cases."""
        give_way()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep a checkpoint; by now the epoch has been validated."""
        self.state.epoch, self.state.drawn = self.state.epoch + 1, 0
        if isinstance(pl_module, Segmenter):
            pl_module.end_epoch()
        self.keep(pl_module)
        wanted = self._agreed(trainer)
        if wanted in {_KEEP_AND_LEAVE, _LEAVE}:
            raise LeftError
        tired = self._bounds.patience is not None and self.state.idle >= self._bounds.patience
        trainer.should_stop = tired or wanted == _ENOUGH

    def keep(self, module: LightningModule) -> None:
        """Write a checkpoint of this moment and tell of it."""
        if not self._team.leads:
            return
        fill(self.state, module)
        path = save(self.state, self._folder)
        self._control.say(Checkpoint(path=str(path), epoch=self.state.epoch))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Tell the metric and remember the best network."""
        if not isinstance(pl_module, Segmenter) or pl_module.last_mean is None:
            return
        step, value = self.state.steps, pl_module.last_mean
        if self._team.leads:
            self._control.say(Metric(name="val_mean_dice", step=step, value=value))
            for name, one in pl_module.last_per_label.items():
                if one is not None:
                    self._control.say(Metric(name="val_dice", label=name, step=step, value=one))
        if step == 0:
            self.state.val_at_start = value
            return
        self.state.idle += 1
        if self.state.best is None or value > self.state.best:
            self.state.best, self.state.idle = value, 0
            self.state.best_network = snapshot(pl_module.network)

    def _note_batch(self, module: LightningModule) -> None:
        """Tell that fewer items go through the network at a time."""
        if not isinstance(module, Segmenter) or module.at_once == self.state.at_once:
            return
        self.state.at_once = module.at_once
        if self._team.leads and module.at_once is not None:
            self._control.say(Metric(name="batch_at_once", step=self.state.steps, value=module.at_once))

    def _report(self, loss: float | None, *, last: bool) -> None:
        """Say progress: the first step and an epoch's last at once, others at most twice a second."""
        now = time.monotonic()
        done = self.state.steps - self._steps_at_start
        if done > 1 and not last and now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        max_step = self._bounds.epochs * self._epoch_steps
        if self._bounds.steps is not None:
            max_step = min(max_step, self._bounds.steps)
        eta = (now - self._start) / done * max(0, max_step - self.state.steps)
        bounded = min(eta, max(0.0, self._bounds.seconds - self.state.seconds))
        self._control.say(
            Progress(
                epoch=self.state.epoch,
                max_epoch=self._bounds.epochs,
                step=self.state.steps,
                max_step=max(max_step, self.state.steps),
                eta_s=bounded,
            )
        )
        if loss is not None:
            self._control.say(Metric(name="train_loss", step=self.state.steps, value=loss))

    def _end_if_asked(self, trainer: Trainer, module: LightningModule) -> None:
        """Do what the parent has asked since the last step, and keep within the bounds."""
        wanted = self._agreed(trainer)
        if wanted == _KEEP_AND_LEAVE:
            self.keep(module)
        if wanted in {_KEEP_AND_LEAVE, _LEAVE}:
            raise LeftError
        if wanted == _ENOUGH:
            raise EnoughError

    def _agreed(self, trainer: Trainer) -> int:
        """Return what all ranks do next: the one that leads says."""
        return self._team.most(self._wanted() if self._team.leads else _GO_ON, trainer.strategy.root_device)

    def _wanted(self) -> int:
        try:
            command = self._commands.get_nowait()
        except Empty:
            command = None
        if isinstance(command, CheckpointAndExit):
            return _KEEP_AND_LEAVE
        if isinstance(command, Stop):
            return _LEAVE
        enough = self._bounds.steps is not None and self.state.steps >= self._bounds.steps
        return _ENOUGH if enough or self.state.seconds >= self._bounds.seconds else _GO_ON


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generators that a step on *device* draws from: on a processor one, not those of every accelerator."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def fill(state: TrainingState, module: LightningModule) -> None:
    """Copy network, optimizer and scheduler into the state."""
    if not isinstance(module, Segmenter) or module.optimizer is None:
        return
    state.network = snapshot(module.network)
    state.optimizer = module.optimizer.state_dict()
    state.scheduler = module.scheduler.state_dict() if module.scheduler else None
