"""A training that no machine of the installation can run is refused before it begins."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.wire.host import Case, HostMessage, HostRequest, TrainRequest
from configs.wire.message import DeviceShare
from infra.adapters.catalog.tables import Experiment
from infra.wiring import Parts
from tasks.devices import claims
from tasks.devices.here import Found
from tasks.devices.hold import computing
from tasks.rounds.jobs.start import start_train
from tests.builders import build
from tests.hosts_in_memory import HostInMemory, HostsInMemory

CORES = [Found("cpu", 0, 2.0)]
GPUS = [Found("gpu", 0, 80_000.0), Found("gpu", 1, 80_000.0)]


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: nothing here is different on PostgreSQL."""
    return sqlite_url


def _train(parts: Parts, machines: Sequence[list[Found]], **train: object) -> None:
    world = build(parts.catalog)
    with parts.catalog.write() as session:
        for number, found in enumerate(machines):
            claims.register(session, f"machine-{number}", found)
        spec = RoundSpec(train=TrainSpec.model_validate(train))
        start_train(session, session.get_one(Experiment, world.experiment), spec, actor="ann")


@pytest.mark.parametrize(
    ("machines", "train", "said"),
    [
        (
            [CORES],
            {"precision": "16-mixed"},
            "16-mixed, which needs a GPU, and none of this installation's machine has",
        ),
        ([CORES, CORES], {"num_gpu": 3}, r"of this installation's 2 machines has no GPU and 2 cores: ask for 1 to 2"),
        ([CORES, GPUS], {"num_gpu": 3}, r"has 2 GPU\(s\): ask for 1 to 2, 0 for the processor, or -1 for all GPUs"),
    ],
)
def test_what_no_machine_has_is_refused(
    parts: Parts, machines: Sequence[list[Found]], train: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        _train(parts, machines, **train)


@pytest.mark.parametrize(
    ("machines", "train"),
    [
        ([], {"num_gpu": 8, "precision": "16-mixed"}),
        ([CORES], {"num_gpu": 0}),
        ([CORES], {"num_gpu": -1}),
        ([CORES], {"num_gpu": 2}),
        ([CORES, GPUS], {"num_gpu": 2, "precision": "16-mixed"}),
    ],
)
def test_what_one_machine_has_is_taken_and_so_is_anything_before_one_has_told(
    parts: Parts, machines: Sequence[list[Found]], train: dict[str, object]
) -> None:
    _train(parts, machines, **train)


def test_half_precision_on_the_processor_contradicts_itself() -> None:
    with pytest.raises(ValueError, match="num_gpu 0 is the processor"):
        TrainSpec(num_gpu=0, precision="16-mixed")


def test_a_training_on_the_processor_claims_it_whatever_else_the_machine_has(parts: Parts) -> None:
    given = list[DeviceShare | None]()

    class Host(HostInMemory):
        def messages(self) -> Iterator[HostMessage]:
            return iter(())

    class Hosts(HostsInMemory):
        def host(self, request: HostRequest, work: Path) -> HostInMemory:
            del work
            given.append(request.device)
            return Host()

    request = TrainRequest(
        bundle="b",
        cases=[Case(id="1", image=["i.nii"], label="l.nii")],
        labels={1: "liver"},
        out="o",
        cache="c",
        spec=TrainSpec(num_gpu=0),
    )
    hosted = Parts(parts.settings, hosts=Hosts())
    with computing(
        hosted, request, claims.Need("train", 1e9), holder="h", work=parts.settings.home, bundle=parts.settings.home
    ) as host:
        list(host.messages())

    assert [share.number for share in given if share] == [None], "no memory of a GPU was asked for"
    hosted.close()
