"""What was skipped is given to nobody until it is cleared, on both databases."""

import pytest

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Image, Lease
from tasks.rounds.count import notify
from tasks.selection.next_image import next_image
from tasks.selection.skip import GONE, SYSTEM, clear, skip, skipped
from tests.builders import World, build, notice


def _next(catalog: Catalog, world: World) -> int:
    with catalog.write() as session:
        return next_image(session, world.dataset, holder="bob").id


def _skip(catalog: Catalog, image: int, reason: str = "moved during the scan", by: str = "ann") -> bool:
    with catalog.write() as session:
        return skip(session, session.get_one(Image, image), reason, by=by)


def test_a_skipped_image_is_given_to_nobody_until_it_is_cleared(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    image = _next(catalog, world)

    assert _skip(catalog, image)

    with catalog.read() as session:
        assert session.get(Lease, (world.dataset, image, 0)) is None
        assert [(row.id, row.skipped_reason, row.skipped_by) for row in skipped(session, world.dataset)] == [
            (image, "moved during the scan", "ann")
        ]
    with pytest.raises(NotFoundError):
        _next(catalog, world)
    with catalog.write() as session:
        assert clear(session, session.get_one(Image, image))
    assert _next(catalog, world) == image


def test_the_first_reason_stays(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    assert _skip(catalog, world.images[0], "first", SYSTEM)
    assert not _skip(catalog, world.images[0], "second")
    with catalog.read() as session:
        assert session.get_one(Image, world.images[0]).skipped_reason == "first"


def test_a_labelled_image_that_is_cleared_is_not_given_again(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    with catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
    _skip(catalog, world.images[0])
    with catalog.write() as session:
        clear(session, session.get_one(Image, world.images[0]))
    with pytest.raises(NotFoundError):
        _next(catalog, world)


def test_an_image_that_left_its_store_cannot_be_cleared(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    _skip(catalog, world.images[0], GONE, SYSTEM)
    with catalog.write() as session, pytest.raises(ConflictError):
        clear(session, session.get_one(Image, world.images[0]))


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1001])
def test_a_skip_needs_a_reason(catalog: Catalog, reason: str) -> None:
    world = build(catalog, images=1)
    with pytest.raises(InvalidRequestError):
        _skip(catalog, world.images[0], reason)
