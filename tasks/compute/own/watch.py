"""Between two steps of a bundle's own trainer: say how far it is, keep checkpoints, and end where that is asked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim import Optimizer

from tasks.compute.failures import NotFiniteError
from tasks.compute.share import give_way
from tasks.compute.training import checkpoint
from tasks.compute.training.checkpoint import TrainingState
from tasks.compute.training.pace import EnoughError, Pace


@dataclass(frozen=True)
class Learner:
    """What a trainer changes: put into checkpoints."""

    network: nn.Module
    optimizer: Optimizer | None
    scheduler: Any

    def fill(self, state: TrainingState) -> None:
        """Copy network, optimizer and scheduler into the state."""
        checkpoint.fill(state, self.network, self.optimizer, self.scheduler)


class Watch:
    """Watches one run of a trainer by the events of ignite's engines.

    Args:
        pace: Of this training.
        learner: What the trainer changes.
    """

    def __init__(self, pace: Pace, learner: Learner) -> None:
        self._pace, self._learner = pace, learner

    def attach(self, trainer: Engine, validator: Engine | None) -> None:
        """Listen to both; after the bundle's own handlers, so that an epoch has been validated when it ends."""
        trainer.add_event_handler(Events.STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        if validator is not None:
            validator.add_event_handler(Events.ITERATION_COMPLETED, lambda _engine: give_way())
            validator.add_event_handler(Events.COMPLETED, self._validated)

    def _begin(self, _trainer: Engine) -> None:
        """Start the clock."""
        self._pace.begin()

    def _step(self, trainer: Engine) -> None:
        """Count the step; report; obey."""
        self._pace.step()
        loss = loss_of(trainer.state.output)
        if loss is not None and not math.isfinite(loss):
            raise NotFiniteError(
                f"The loss of the bundle's own trainer was not finite in epoch {trainer.state.epoch}, step"
                f" {self._pace.state.steps}: look at the labels, or lower learning_rate"
            )
        steps = trainer.state.epoch_length or 1
        last = trainer.state.iteration % steps == 0
        self._pace.report(loss, epoch_steps=steps, last=last)
        give_way()
        if not last:  # else the epoch ends first
            self._pace.obey(self._pace.wish(), self._keep)

    def _epoch(self, trainer: Engine) -> None:
        """Keep a checkpoint; by now the epoch has been validated."""
        self._pace.state.epoch = trainer.state.epoch
        self._keep()
        self._pace.obey(self._pace.wish(), self._keep)
        if self._pace.tired:
            raise EnoughError

    def _keep(self) -> None:
        """Write a checkpoint of this moment and tell of it."""
        self._learner.fill(self._pace.state)
        self._pace.keep()

    def _validated(self, validator: Engine) -> None:
        """Tell the metrics and remember the best network, by the bundle's own comparison."""
        values = {str(name): _number(value) for name, value in validator.state.metrics.items()}
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        for name, one in finite.items():
            self._pace.tell(name[:200], one)
        value = finite.get(str(getattr(validator.state, "key_metric_name", None)))
        if value is not None:
            self._pace.judged(value, self._learner.network, validator.metric_cmp_fn)


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
