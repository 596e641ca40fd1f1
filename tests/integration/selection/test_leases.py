"""Leases end, are extended and are given back as they should, on both databases and whatever the clock does."""

from sqlalchemy import select, update

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Image, Lease
from infra.adapters.catalog.tables.base import now
from tasks.rounds.count import notify
from tasks.selection.leases import LEASE_S, is_due, touch_lease
from tasks.selection.next_image import next_image
from tests.builders import World, build, notice

HOURS = 3600.0


def _next(catalog: Catalog, world: World, holder: str = "ann", max_leases: int = 50) -> int:
    with catalog.write() as session:
        return next_image(session, world.dataset, holder=holder, max_leases=max_leases).id


def _left_s(catalog: Catalog) -> dict[int, float]:
    """Seconds that each lease still has."""
    with catalog.read() as session:
        return dict(session.execute(select(Lease.image_id, Lease.until - now())).tuples().all())


def _clock_goes(catalog: Catalog, seconds: float) -> None:
    """Let the catalog's clock be later than it was when the leases were made, or earlier."""
    with catalog.write() as session:
        session.execute(update(Lease).values(until=Lease.until - seconds))


def _touch(catalog: Catalog, world: World, image: int, holder: str) -> None:
    with catalog.write() as session:
        touch_lease(session, world.dataset, image, holder, LEASE_S)


def test_a_request_about_the_image_extends_its_holders_lease_and_nobody_elses(catalog: Catalog) -> None:
    world = build(catalog, images=2)
    mine, other = _next(catalog, world, "ann"), _next(catalog, world, "bob")
    _clock_goes(catalog, 0.9 * HOURS)

    _touch(catalog, world, mine, "ann")
    _touch(catalog, world, other, "ann")

    left = _left_s(catalog)
    assert left[mine] > 0.99 * HOURS
    assert left[other] < 0.11 * HOURS


def test_a_lease_is_written_again_half_a_minute_later_and_only_for_its_holder(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    image = _next(catalog, world, "ann")

    def due(holder: str) -> bool:
        with catalog.read() as session:
            return is_due(session, world.dataset, image, holder, LEASE_S)

    assert not due("ann")
    _clock_goes(catalog, 31)
    assert (due("ann"), due("bob")) == (True, False)


def test_who_asks_for_more_than_they_may_have_gives_back_what_they_touched_longest_ago(catalog: Catalog) -> None:
    world = build(catalog, images=4)
    first, second = _next(catalog, world, max_leases=2), _next(catalog, world, max_leases=2)
    _clock_goes(catalog, 60)
    _touch(catalog, world, first, "ann")

    third = _next(catalog, world, max_leases=2)

    assert set(_left_s(catalog)) == {first, third}
    with catalog.read() as session:
        assert session.get_one(Image, second).open


def test_after_eight_hours_of_sleep_the_holder_has_the_image_again_with_the_next_request(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    image = _next(catalog, world)
    _clock_goes(catalog, 8 * HOURS)

    _touch(catalog, world, image, "ann")

    assert _left_s(catalog)[image] > 0.99 * HOURS


def test_a_label_counts_although_somebody_else_got_the_image_after_the_sleep(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    image = _next(catalog, world)
    _clock_goes(catalog, 8 * HOURS)
    assert _next(catalog, world, "bob") == image

    with catalog.write() as session:
        assert notify(session, world.dataset, [notice(image)], "ann") == 1

    assert _left_s(catalog) == {}


def test_a_clock_that_was_set_back_leaves_no_lease_longer_than_a_new_one(catalog: Catalog) -> None:
    world = build(catalog, images=2)
    image = _next(catalog, world)
    _clock_goes(catalog, -24 * HOURS)

    _next(catalog, world, "bob")

    assert _left_s(catalog)[image] <= HOURS
