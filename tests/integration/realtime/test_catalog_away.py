"""A slot serves on while the catalog is away."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from configs.errors import UpstreamError
from configs.specs.infer import InferSpec
from configs.states import SlotState
from configs.wire.slot import SlotPredict
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Slot
from infra.adapters.slots.client import SlotAnswer
from infra.wiring import Parts, open_parts
from tests.integration.realtime.conftest import served
from tests.processes import wait_until
from tests.realtime_home import Realtime, open_realtime

_numbers = itertools.count()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Realtime]:
    """A home of this test's own."""
    (tmp_path / "images").mkdir()
    opened = open_realtime(tmp_path / "home", tmp_path / "images")
    yield opened
    opened.parts.close()


@contextmanager
def _away(parts: Parts) -> Iterator[None]:
    """Have the slot look for its catalog where there is none."""
    kept, parts.catalog = parts.catalog, Catalog("sqlite+pysqlite:////nowhere/catalog.db")
    try:
        yield
    finally:
        parts.catalog = kept


def _ask(home: Realtime, slot: Slot, image: str) -> SlotAnswer:
    request = SlotPredict(
        dataset_id=home.dataset_id, image_id=home.images[image], spec=InferSpec(params={"number": next(_numbers)})
    )
    return home.parts.slots.predict(slot.endpoint, slot.token or "", request, 60.0)


def test_without_its_catalog_a_slot_answers_and_then_follows_what_was_published(home: Realtime) -> None:
    parts = open_parts(home.parts.settings)
    with served(home, parts) as slot:
        first = _ask(home, slot, "ada")
        with _away(parts):
            assert _ask(home, slot, "ada").version == first.version
            with pytest.raises(UpstreamError, match="catalog"):
                _ask(home, slot, "ben")
            assert _ask(home, slot, "ada").seq == 1
        version = home.publish(2)
        wait_until(lambda: _ask(home, slot, "ben").version == version, "the version published since")

    parts.close()
    ended = home.slot(slot.id)
    assert (ended.state, ended.holder, ended.desired) == (SlotState.LOST, None, True)
