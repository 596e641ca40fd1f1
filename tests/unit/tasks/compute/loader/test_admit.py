"""Weights that somebody sent: taken if they are of the network, whatever wrote them; else it is said what differs."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from configs.wire.admit import AdmitRequest
from tasks.compute.failures import BadInputError
from tasks.compute.loader.admit import admit
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tests.shapes.shape import plain

LABELS = {1: "liver"}
State = dict[str, Tensor]


class _Code:
    """What runs where a pickle is trusted."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._mark,)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(plain().write(tmp_path / "bundle"))


@pytest.fixture
def state(bundle: Bundle) -> State:
    """Weights of the network for the labels, each tensor other than those that it begins with."""
    network, _ = build_network(bundle, bundle.inference(), labels=LABELS, weights=None)
    return {name: value.cpu() + 1 for name, value in network.state_dict().items()}


def _admitted(bundle: Bundle, sent: Path) -> State:
    out = sent.parent / "out"
    request = AdmitRequest(bundle=str(bundle.folder), labels=LABELS, weights=str(sent), out=str(out))
    return load_file(admit(bundle, request).weights)


def test_what_others_write_of_the_same_network_becomes_ours_bit_for_bit(
    bundle: Bundle, state: State, tmp_path: Path
) -> None:
    sent, wrapped, precise = (tmp_path / name for name in ("ours.safetensors", "wrapped.pt", "precise.pt"))
    save_file(state, sent)
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, wrapped)
    torch.save({name: value.double() for name, value in state.items()}, precise)
    for file in (sent, wrapped, precise):
        found = _admitted(bundle, file)
        assert found.keys() == state.keys()
        assert {value.dtype for value in found.values()} == {value.dtype for value in state.values()}
        assert all(torch.equal(found[name], value) for name, value in state.items())


def test_another_networks_weights_are_refused_by_what_differs(bundle: Bundle, state: State, tmp_path: Path) -> None:
    first, *_, last = state
    wrong: dict[str, State] = {
        f"Tensors missing: {first}. ": {name: value for name, value in state.items() if name != first},
        "Tensors unknown: extra. ": {**state, "extra": torch.ones(1)},
        rf"of another shape: {last} \(3, 3\) instead of": {**state, last: torch.ones(3, 3)},
        f"NaN or infinity, in {last}:": {**state, last: state[last].double() * 1e300},
        f"NaN or infinity, in {first}:": {**state, first: state[first] * torch.nan},
    }
    for said, sent in wrong.items():
        torch.save(sent, tmp_path / "sent.pt")
        with pytest.raises(BadInputError, match=said):
            _admitted(bundle, tmp_path / "sent.pt")


@pytest.mark.parametrize("name", ["sent.pt", "sent.safetensors"])
def test_bytes_that_are_no_weights_are_refused_and_no_code_of_theirs_runs(
    bundle: Bundle, state: State, tmp_path: Path, name: str
) -> None:
    sent, mark = tmp_path / name, tmp_path / "ran"
    torch.save(state, sent) if name.endswith(".pt") else save_file(state, sent)
    whole = sent.read_bytes()
    for content in (b"", b"PK", whole[: len(whole) // 2], whole[:9] + b"\xff" * 40, pickle.dumps(_Code(mark))):
        sent.write_bytes(content)
        with pytest.raises(BadInputError, match="code in a file is never run"):
            _admitted(bundle, sent)
    for held in ({"model": _Code(mark)}, {**state, "more": _Code(mark)}, [1, 2], {"a": 1}):
        torch.save(held, tmp_path / "held.pt")
        with pytest.raises(BadInputError):
            _admitted(bundle, tmp_path / "held.pt")
    assert not mark.exists()
