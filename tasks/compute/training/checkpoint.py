"""Checkpoints: everything that a later attempt needs to go on from the end of an epoch."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from tasks.compute.failures import BadInputError, NotFiniteError

State = dict[str, Tensor]
# A checkpoint of another form is left alone: the round then begins anew.
_FORMAT = 1
_KEPT = 3


@dataclass
class TrainingState:
    """What training has come to.

    Attributes:
        epoch: Epochs done.
        steps: Optimizer steps done, over all attempts.
        seconds: Time spent in training, over all attempts.
        network: The network's state.
        optimizer: The optimizer's state.
        scheduler: The scheduler's state, if there is one.
        best: Best validation value, with the network's state that reached it.
        best_network: That state.
        val_at_start: Validation value before the first step.
        drawn: Cases drawn in the epoch that was left in its middle; 0 at an epoch's end.
        at_once: Items that went through the network at a time, once memory did not suffice for a batch.
        idle: Validations since the best one.
        left_out: Ids of cases that could not be read or prepared.
        rates: Learning rates that were asked for, of each group of parameters, before any schedule.
    """

    epoch: int
    steps: int
    seconds: float
    network: State
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None = None
    best: float | None = None
    best_network: State | None = None
    val_at_start: float | None = None
    drawn: int = 0
    at_once: int | None = None
    idle: int = 0
    left_out: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def take_up(path: str | None, network: nn.Module, optimizer: Optimizer | None, scheduler: Any) -> TrainingState:
    """Return where training stands, with network, optimizer and scheduler put there; without a path its beginning.

    Where another learning rate is asked for than when the checkpoint was written, what a schedule has made of that one
    by now is kept in proportion.

    Raises:
        BadInputError: If it is no checkpoint of ours, or of another network or optimizer.
    """
    asked = [_asked_rate(group) for group in optimizer.param_groups] if optimizer is not None else []
    if path is None:
        return TrainingState(epoch=0, steps=0, seconds=0.0, network={}, optimizer={}, rates=asked)
    state = load(Path(path))
    try:
        network.load_state_dict(state.network)
        if optimizer is not None and state.optimizer:
            optimizer.load_state_dict(state.optimizer)
        if scheduler is not None and state.scheduler:
            scheduler.load_state_dict(state.scheduler)
    except (RuntimeError, ValueError, KeyError) as error:
        raise BadInputError("The checkpoint belongs to another network or optimizer") from error
    if optimizer is not None and state.rates and asked != state.rates:
        _scale_rates(
            optimizer, scheduler, [new / old if old else 1.0 for new, old in zip(asked, state.rates, strict=True)]
        )
    state.rates = asked
    return state


def fill(state: TrainingState, network: nn.Module, optimizer: Optimizer | None, scheduler: Any) -> None:
    """Copy network, optimizer and scheduler into the state."""
    state.network = snapshot(network)
    state.optimizer = optimizer.state_dict() if optimizer else {}
    state.scheduler = scheduler.state_dict() if scheduler else None


def save(state: TrainingState, folder: Path) -> Path:
    """Write a checkpoint whole or not at all; returns its path. The newest three are kept.

    No step waits for the disk: whoever is told of it makes it durable before it counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{state.epoch}.ckpt"
    temporary = folder / f"tmp-{os.getpid()}"
    torch.save({**vars(state), "format": _FORMAT}, temporary)
    temporary.replace(path)
    older = sorted((int(found.stem), found) for found in folder.glob("*.ckpt") if found.stem.isdigit())[:-_KEPT]
    for _, found in older:
        found.unlink(missing_ok=True)
    return path


def _asked_rate(group: dict[str, Any]) -> float:
    """Return a group's rate before any schedule: a schedule's warm-up has changed the current one already."""
    return float(group.get("initial_lr", group["lr"]))


def _scale_rates(optimizer: Optimizer, scheduler: Any, factors: list[float]) -> None:
    """Multiply the rates of an optimizer's groups, and those that its schedule counts from."""
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        for name in ("lr", "initial_lr"):
            if name in group:
                group[name] *= factor
    for part in (scheduler, *getattr(scheduler, "_schedulers", ())):  # SequentialLR and ChainedScheduler have several
        if hasattr(part, "base_lrs"):
            part.base_lrs = [rate * factor for rate, factor in zip(part.base_lrs, factors, strict=True)]


def load(path: Path) -> TrainingState:
    """Read a checkpoint, without running any code in it.

    Raises:
        BadInputError: If it is no checkpoint of ours.
    """
    try:
        plain: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if plain.pop("format") == _FORMAT:
            return TrainingState(**plain)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadInputError("The checkpoint cannot be read; start again from an older one") from error
    raise BadInputError("The checkpoint was written by another version of this program")


def snapshot(network: nn.Module) -> State:
    """Return a copy of a network's state, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def write_best(state: TrainingState, path: Path) -> Path:
    """Write the weights that training ends with: the best ones, where there was something to choose by.

    Raises:
        NotFiniteError: If one is NaN or infinite: the loss may be finite to the last while a running mean is not.
    """
    best = state.network if state.best_network is None else state.best_network
    broken = [name for name, value in best.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise NotFiniteError(
            f"After {state.steps} steps {len(broken)} tensor(s) of the network are not finite, {broken[0]} among"
            " them: lower learning_rate, or use precision 32-true"
        )
    return write_weights(best, path)


def write_weights(state: State, path: Path) -> Path:
    """Write a network's state as safetensors, whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    save_file({name: value.contiguous() for name, value in state.items()}, temporary)
    temporary.replace(path)
    return path
