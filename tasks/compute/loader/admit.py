"""Weights that somebody sent: read without running code, compared with the network, and written as weights of ours."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from configs.wire.admit import AdmitRequest, Admitted
from configs.wire.host import Ready
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, is_memory
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network, read_state
from tasks.compute.training.checkpoint import snapshot, write_weights

_MOST_NAMED = 3


def run(request: AdmitRequest, control: Control) -> None:
    """Answer an upload."""
    control.say(Ready())
    control.say(admit(Bundle(Path(request.bundle)), request))


def admit(bundle: Bundle, request: AdmitRequest) -> Admitted:
    """Write weights as safetensors, in the types of the network that they are of.

    Raises:
        BadInputError: If they cannot be read, or are not of this network, or not finite; the message says what differs.
    """
    sent = _read(Path(request.weights))
    network, _ = build_network(bundle, bundle.inference(), labels=request.labels, weights=None)
    differs = _difference(sent, network.state_dict())
    if differs:
        raise BadInputError(
            f"These weights are not of this experiment's network. Tensors {differs}. Send weights that were trained"
            " with its bundle, for its labels"
        )
    network.load_state_dict(sent)
    state = snapshot(network)
    # Now, in the network's own types: what is finite in float64 need not be in float32.
    broken = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise BadInputError(
            f"These weights hold NaN or infinity, in {_named(broken)}: nothing can be predicted with them"
        )
    target = Path(request.out) / "weights.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    return Admitted(weights=str(write_weights(state, target)))


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        state = read_state(file)
        if all(isinstance(value, Tensor) and not value.is_meta for value in state.values()):
            return state
    except Exception as error:  # whatever two libraries raise for bytes that anybody made
        if is_memory(error):
            raise
        raise BadInputError(
            "This is no file of weights that is read here: it is cut short, or holds more than tensors, and code in a"
            " file is never run. Send safetensors, or what torch.save wrote of a state_dict"
        ) from error
    raise BadInputError("This file holds more than tensors: send the network's state_dict alone")


def _difference(sent: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Return in words what two states differ in; empty = names and shapes are the same."""
    missing = [name for name in own if name not in sent]
    unknown = [name for name in sent if name not in own]
    other = [
        f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in sent.items()
        if name in own and value.shape != own[name].shape
    ]
    found = {"missing": missing, "unknown": unknown, "of another shape": other}
    return "; ".join(f"{what}: {_named(names)}" for what, names in found.items() if names)


def _named(names: Collection[str]) -> str:
    shown = ", ".join(name[:100] for name in list(names)[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
