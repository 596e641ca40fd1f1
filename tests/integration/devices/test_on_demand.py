"""Slots that are started on first use go off by themselves and make room, on both databases."""

import pytest
from sqlalchemy import select, update

from configs.errors import InvalidRequestError
from infra.adapters.catalog import slots as catalog_slots
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import DeviceClaim, Experiment, Slot
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.devices import claims
from tasks.devices.claims import Claimant, Need
from tasks.devices.here import Found
from tasks.reconcile.slots import slots_idle
from tasks.serving.on_demand import HOLDER, IDLE_S, used
from tasks.serving.slots import make_room_on, want
from tests.builders import World, build


def _want(catalog: Catalog, world: World, *, quota: int = 2, until_idle: bool = True) -> Slot:
    with catalog.write() as session:
        return want(session, session.get_one(Experiment, world.experiment), quota, until_idle=until_idle)


def _slot(catalog: Catalog, world: World) -> Slot:
    with catalog.read() as session:
        return catalog_slots.of_experiment(session, world.experiment)[0]


def _later(catalog: Catalog, seconds: float) -> None:
    with catalog.write() as session:
        session.execute(update(Slot).values(desired_until=Slot.desired_until - seconds))


def _left_s(catalog: Catalog, slot: Slot) -> float:
    with catalog.read() as session:
        return session.scalars(select(Slot.desired_until - now()).where(Slot.id == slot.id)).one() or 0.0


def test_a_slot_that_nobody_uses_any_more_goes_off(parts: Parts) -> None:
    world, other = build(parts.catalog), build(parts.catalog)
    _want(parts.catalog, world)
    _want(parts.catalog, other, until_idle=False)
    _later(parts.catalog, IDLE_S - 1)
    assert slots_idle(parts) == 0
    _later(parts.catalog, 2)
    assert slots_idle(parts) == 1
    assert not _slot(parts.catalog, world).desired
    assert "ten minutes" in _slot(parts.catalog, world).error
    assert _slot(parts.catalog, other).desired


def test_each_use_keeps_it_and_of_uses_close_together_one_is_written(parts: Parts) -> None:
    slot = _want(parts.catalog, build(parts.catalog))
    _later(parts.catalog, 10)
    used(parts, slot)
    assert _left_s(parts.catalog, slot) < IDLE_S - 9
    _later(parts.catalog, 60)
    used(parts, slot)
    assert _left_s(parts.catalog, slot) > IDLE_S - 9


def test_a_slot_that_is_wanted_for_good_stays(catalog: Catalog) -> None:
    world = build(catalog)
    _want(catalog, world)
    assert _slot(catalog, world).desired_until is not None
    _want(catalog, world, until_idle=False)
    assert _slot(catalog, world).desired_until is None
    _want(catalog, world, until_idle=True)
    assert _slot(catalog, world).desired_until is None


def test_what_was_used_longest_ago_makes_room_and_what_is_wanted_for_good_does_not(catalog: Catalog) -> None:
    worlds = [build(catalog) for _ in range(4)]
    _want(catalog, worlds[0])
    _later(catalog, 60)
    _want(catalog, worlds[1])

    _want(catalog, worlds[2], until_idle=False)
    assert [_slot(catalog, world).desired for world in worlds[:3]] == [False, True, True]
    _want(catalog, worlds[0], until_idle=False)
    assert not _slot(catalog, worlds[1]).desired
    with pytest.raises(InvalidRequestError, match="maximum number"):
        _want(catalog, worlds[3])


def test_on_a_device_one_makes_room_at_a_time(catalog: Catalog) -> None:
    worlds = [build(catalog) for _ in range(3)]
    slots = [_want(catalog, world, quota=0) for world in worlds]
    with catalog.write() as session:
        for slot in slots:
            who = Claimant(HOLDER + slot.id, "here", pid=1, born="then", lease_s=60.0)
            claims.claim(session, who, Need("live", 1.0), [Found("gpu", 0, 9.0)])
            held = {"holder": "process", "lease_until": now() + 60, "desired_until": now() + 100 + slots.index(slot)}
            session.execute(update(Slot).where(Slot.id == slot.id).values(**held))

    with catalog.write() as session:
        assert make_room_on(session, "here", slots[0].id)
        assert not make_room_on(session, "here", slots[0].id), "one drains already"
    assert [_slot(catalog, world).desired for world in worlds] == [True, False, True]
    with catalog.write() as session:
        session.execute(update(Slot).where(Slot.id == slots[1].id).values(holder=None))
        assert not make_room_on(session, "elsewhere", slots[0].id)
        assert session.scalars(select(DeviceClaim)).all()
