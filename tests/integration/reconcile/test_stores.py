"""A store that failed is asked again without anybody's doing, ever more rarely while it stays away."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from infra.adapters.catalog.tables import Dataset, LoopLease, Outbox
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.images import health
from tasks.reconcile import stores
from tests.builders import World


@pytest.fixture
def folder(parts: Parts, world: World, tmp_path: Path) -> Path:
    """The place of the world's data set, which is not there, as somebody has met already."""
    place = tmp_path / "store"
    with parts.catalog.write() as session:
        session.execute(update(Dataset).values(spec={"kind": "folder", "url": str(place)}))
        session.add(Outbox(kind="store_label", ref="label", tries=3, due_at=now() + 300))
        session.get_one(Dataset, world.dataset).state = health.DEGRADED
    return place


def _waits(parts: Parts, world: World) -> float:
    with parts.catalog.read() as session:
        until = session.get_one(LoopLease, f"probe/{world.dataset}").until
        return float(until - (session.scalar(now()) or 0.0))


def test_a_degraded_data_set_is_asked_ever_more_rarely_until_it_is_back(
    parts: Parts, world: World, folder: Path, later: Callable[[], None]
) -> None:
    probes = stores.Probes()
    for wait_s in (30, 60, 120, 240, 480, 900, 900):
        assert probes.check(parts) == 0
        assert wait_s - 20 < _waits(parts, world) <= wait_s
        assert probes.check(parts) == 0, "not its turn"
        later()
    folder.mkdir()
    assert probes.check(parts) == 1
    with parts.catalog.read() as session:
        dataset = session.get_one(Dataset, world.dataset)
        assert (dataset.state, dataset.state_reason) == (health.READY, "")
        waiting = session.get_one(Outbox, 1)
        assert waiting.due_at <= (session.scalar(now()) or 0.0), "labels that waited for the store are written now"
    later()
    assert probes.check(parts) == 0


@pytest.mark.usefixtures("folder")
def test_a_data_set_that_was_deleted_is_not_asked(parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Dataset).values(deleted_at=now()))
    probes = stores.Probes()
    assert probes.check(parts) == 0
    with parts.catalog.read() as session:
        assert session.query(LoopLease).count() == 0
