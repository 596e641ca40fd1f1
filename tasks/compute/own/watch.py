"""Between two steps of a bundle's own trainer: say how far it is, keep checkpoints, and end where that is asked."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim import Optimizer

from configs.wire.host import Checkpoint, CheckpointAndExit, HostCommand, Metric, Progress, Stop
from tasks.compute.failures import NotFiniteError
from tasks.compute.share import give_way
from tasks.compute.training.checkpoint import TrainingState, save, snapshot
from tasks.compute.training.reporter import Bounds, EnoughError, LeftError, Speaker

_SAY_EVERY_S = 0.5


@dataclass(frozen=True)
class Learner:
    """What a trainer changes: put into checkpoints, and taken out of them."""

    network: nn.Module
    optimizer: Optimizer | None
    scheduler: Any

    def fill(self, state: TrainingState) -> None:
        """Copy network, optimizer and scheduler into the state."""
        state.network = snapshot(self.network)
        state.optimizer = self.optimizer.state_dict() if self.optimizer else {}
        state.scheduler = self.scheduler.state_dict() if self.scheduler else None

    def restore(self, state: TrainingState) -> None:
        """Put them where the state stands."""
        self.network.load_state_dict(state.network)
        if self.optimizer and state.optimizer:
            self.optimizer.load_state_dict(state.optimizer)
        if self.scheduler and state.scheduler:
            self.scheduler.load_state_dict(state.scheduler)


class Watch:
    """Watches one run of a trainer by the events of ignite's engines.

    Args:
        control: Who is told.
        commands: What the parent has asked meanwhile.
        folder: Where checkpoints go.
        state: What was done in earlier attempts; kept up to date.
        bounds: Where it ends.
        learner: What the trainer changes.
    """

    def __init__(
        self,
        control: Speaker,
        commands: "SimpleQueue[HostCommand]",
        *,
        folder: Path,
        state: TrainingState,
        bounds: Bounds,
        learner: Learner,
    ) -> None:
        self._control = control
        self._commands = commands
        self._folder = folder
        self._state = state
        self._bounds = bounds
        self._learner = learner
        self._earlier_s = state.seconds
        self._start = time.monotonic()
        self._said = 0.0

    def attach(self, trainer: Engine, validator: Engine | None) -> None:
        """Listen to both; after the bundle's own handlers, so that an epoch has been validated when it ends."""
        trainer.add_event_handler(Events.STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        if validator is not None:
            validator.add_event_handler(Events.ITERATION_COMPLETED, lambda _engine: give_way())
            validator.add_event_handler(Events.COMPLETED, self._validated)

    def _begin(self, _trainer: Engine) -> None:
        """Start the clock: a validation before training does not count."""
        self._start = time.monotonic()

    def _step(self, trainer: Engine) -> None:
        """Count the step; report; obey."""
        state = self._state
        state.steps += 1
        state.seconds = self._earlier_s + time.monotonic() - self._start
        loss = loss_of(trainer.state.output)
        if loss is not None and not math.isfinite(loss):
            raise NotFiniteError(
                f"The loss of the bundle's own trainer was not finite in epoch {trainer.state.epoch}, step"
                f" {state.steps}: look at the labels, or lower learning_rate"
            )
        last = trainer.state.iteration % (trainer.state.epoch_length or 1) == 0
        self._report(trainer, loss, last=last)
        give_way()
        if not last:  # else the epoch ends first
            self._obey()

    def _epoch(self, trainer: Engine) -> None:
        """Keep a checkpoint; by now the epoch has been validated."""
        self._state.epoch = trainer.state.epoch
        self._keep()
        self._obey()
        if self._bounds.patience is not None and self._state.idle >= self._bounds.patience:
            raise EnoughError

    def _keep(self) -> None:
        """Write a checkpoint of this moment and tell of it."""
        self._learner.fill(self._state)
        self._control.say(Checkpoint(path=str(save(self._state, self._folder)), epoch=self._state.epoch))

    def _validated(self, validator: Engine) -> None:
        """Tell the metrics and remember the best network, by the bundle's own comparison."""
        state, key = self._state, getattr(validator.state, "key_metric_name", None)
        values = {str(name): _number(value) for name, value in validator.state.metrics.items()}
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        for name, one in finite.items():
            self._control.say(Metric(name=name[:200], step=state.steps, value=one))
        value = finite.get(str(key))
        if value is None:
            return
        if state.steps == 0:
            state.val_at_start = value
            return
        state.idle += 1
        if state.best is None or validator.metric_cmp_fn(value, state.best):
            state.best, state.idle = value, 0
            state.best_network = snapshot(self._learner.network)

    def _report(self, trainer: Engine, loss: float | None, *, last: bool) -> None:
        """Say progress: the first step and an epoch's last at once, others at most twice a second."""
        now = time.monotonic()
        if not last and now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        steps, most = self._state.steps, self._bounds.epochs * (trainer.state.epoch_length or 1)
        most = max(steps, min(most, self._bounds.steps or most))
        left_s = self._state.seconds / steps * (most - steps)
        self._control.say(
            Progress(
                epoch=self._state.epoch,
                max_epoch=self._bounds.epochs,
                step=steps,
                max_step=most,
                eta_s=min(left_s, max(0.0, self._bounds.seconds - self._state.seconds)),
            )
        )
        if loss is not None:
            self._control.say(Metric(name="train_loss", step=steps, value=loss))

    def _obey(self) -> None:
        """Do what the parent has asked since the last step, and keep within the bounds."""
        try:
            command = self._commands.get_nowait()
        except Empty:
            command = None
        if isinstance(command, CheckpointAndExit):
            self._keep()
        if isinstance(command, CheckpointAndExit | Stop):
            raise LeftError
        enough = self._bounds.steps is not None and self._state.steps >= self._bounds.steps
        if enough or self._state.seconds >= self._bounds.seconds:
            raise EnoughError


def loss_of(output: Any) -> float | None:
    """Return the loss in what an ignite engine's iteration returned: a number, an item, or a list of items."""
    if isinstance(output, list | tuple):
        output = output[0] if output else None
    if isinstance(output, Mapping):
        output = output.get("loss")
    return _number(output)


def _number(value: Any) -> float | None:
    """Return a finite or infinite number, or None for what is no single number."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, int | float) else None
