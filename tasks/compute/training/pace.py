"""How far one training is: counted and told between two steps, kept, and ended where that is asked or time is up."""

import math
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from torch import nn

from configs.wire.host import Checkpoint, CheckpointAndExit, HostCommand, HostMessage, Metric, Progress, Stop
from tasks.compute.training.checkpoint import TrainingState, save, snapshot

# Steps of small networks take milliseconds, and each message is a write of the parent's.
_SAY_EVERY_S = 0.5


class Speaker(Protocol):
    """Whoever takes what training has to say."""

    def say(self, message: HostMessage) -> None:
        """Take one message."""
        ...


class LeftError(Exception):
    """The parent asked us to end: raised out of the trainer's loops, caught by whoever started them."""


class EnoughError(Exception):
    """The bound on steps or minutes is reached: training ends well."""


class Wish(IntEnum):
    """What is to come after a step; of several the greatest holds."""

    GO_ON = 0
    ENOUGH = 1
    LEAVE = 2
    KEEP_AND_LEAVE = 3


@dataclass(frozen=True)
class Bounds:
    """Where training ends at the latest. `patience`: validations without a better one."""

    epochs: int
    steps: int | None
    seconds: float
    patience: int | None = None


class Pace:
    """The steps of one training, whichever loop takes them.

    Args:
        control: Who is told.
        commands: What the parent has asked meanwhile.
        folder: Where checkpoints go.
        state: What was done in earlier attempts; kept up to date.
        bounds: Where it ends.
    """

    def __init__(
        self,
        control: Speaker,
        commands: "SimpleQueue[HostCommand]",
        *,
        folder: Path,
        state: TrainingState,
        bounds: Bounds,
    ) -> None:
        self.state, self.bounds = state, bounds
        self._control, self._commands, self._folder = control, commands, folder
        self._earlier = (state.steps, state.seconds)
        self._start = time.monotonic()
        self._said = -math.inf

    def begin(self) -> None:
        """Start the clock: a validation before training does not count."""
        self._start = time.monotonic()

    def step(self) -> None:
        """Count a step."""
        self.state.steps += 1
        self.state.seconds = self._earlier[1] + time.monotonic() - self._start

    def report(self, loss: float | None, *, epoch_steps: int, last: bool) -> None:
        """Say progress: the first step and an epoch's last at once, others at most twice a second."""
        now = time.monotonic()
        if not last and now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        state, (steps, seconds) = self.state, self._earlier
        most = self.bounds.epochs * epoch_steps
        most = max(state.steps, most if self.bounds.steps is None else min(most, self.bounds.steps))
        left_s = (state.seconds - seconds) / (state.steps - steps) * (most - state.steps)
        self._control.say(
            Progress(
                epoch=state.epoch,
                max_epoch=self.bounds.epochs,
                step=state.steps,
                max_step=most,
                eta_s=min(left_s, max(0.0, self.bounds.seconds - state.seconds)),
            )
        )
        if loss is not None:
            self.tell("train_loss", loss)

    def tell(self, name: str, value: float, label: str = "") -> None:
        """Say a metric of this moment."""
        self._control.say(Metric(name=name, label=label, step=self.state.steps, value=value))

    def judged(self, value: float, network: nn.Module, better: Callable[[float, float], bool] = operator.gt) -> None:
        """Remember what a validation came to, and the network if none was better: of equal ones the last."""
        state = self.state
        if state.steps == 0:
            state.val_at_start = value
            return
        state.idle += 1
        if state.best is None or better(value, state.best):
            state.best, state.idle = value, 0
        if value == state.best:  # a share of few cases is often equal, and who has learnt longer is the surer
            state.best_network = snapshot(network)

    @property
    def tired(self) -> bool:
        """Whether too many validations were no better than an earlier one."""
        return self.bounds.patience is not None and self.state.idle >= self.bounds.patience

    def keep(self) -> None:
        """Write a checkpoint of the state as it is, and tell of it."""
        self._control.say(Checkpoint(path=str(save(self.state, self._folder)), epoch=self.state.epoch))

    def wish(self) -> Wish:
        """Return what the parent has asked since the last step; else whether the bounds allow another one."""
        try:
            command = self._commands.get_nowait()
        except Empty:
            command = None
        if isinstance(command, CheckpointAndExit):
            return Wish.KEEP_AND_LEAVE
        if isinstance(command, Stop):
            return Wish.LEAVE
        enough = self.bounds.steps is not None and self.state.steps >= self.bounds.steps
        return Wish.ENOUGH if enough or self.state.seconds >= self.bounds.seconds else Wish.GO_ON

    def obey(self, wish: int, keep: Callable[[], None]) -> None:
        """Between two steps of an epoch: end where that is wished.

        Raises:
            LeftError: If the parent asked for it; kept before, if it asked for that.
            EnoughError: If the bounds are reached.
        """
        if wish == Wish.KEEP_AND_LEAVE:
            keep()
        if wish >= Wish.LEAVE:
            raise LeftError
        if wish == Wish.ENOUGH:
            raise EnoughError
