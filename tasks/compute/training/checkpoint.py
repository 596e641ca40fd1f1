"""Checkpoints: everything that a later attempt needs to go on from the end of an epoch."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tasks.compute.failures import BadInputError, NotFiniteError

State = dict[str, Tensor]
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
