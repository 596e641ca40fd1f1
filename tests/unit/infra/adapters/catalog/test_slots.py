"""One process holds a slot; every later step of it names its epoch."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select, update

from configs.errors import InvalidRequestError
from configs.states import SlotState
from infra.adapters.catalog import slots
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.slots import Hold, SlotClaimant
from infra.adapters.catalog.tables import Bundle, Experiment, Organisation, Outbox, Slot
from tasks.serving.slots import is_wanted, switch_off, want

THREADS = 8
LEASE_S = 60.0


def _experiments(catalog: Catalog, count: int = 1) -> list[str]:
    with catalog.write() as session:
        session.add_all(
            [Organisation(id="clinic"), Bundle(id="b", name="b", version="1", tier="A", labels={}, check={})]
        )
        session.flush()
        made = [
            Experiment(org="clinic", name=f"e{n}", arch="b", bundle_id="b", labels={"1": "liver"}, lineage=f"l{n}")
            for n in range(count)
        ]
        session.add_all(made)
        session.flush()
        return [experiment.id for experiment in made]


def _want(catalog: Catalog, experiment_id: str, quota: int = 0, replica: int = 0) -> str:
    with catalog.write() as session:
        return want(session, session.get_one(Experiment, experiment_id), quota, replica=replica).id


def _claim(catalog: Catalog, slot_id: str, holder: str = "h") -> Hold | None:
    with catalog.write() as session:
        return slots.claim(session, slot_id, SlotClaimant(holder, "host", 1, "token"), LEASE_S)


def _run_out(catalog: Catalog, slot_id: str) -> None:
    """Let the slot's lease run out."""
    with catalog.write() as session:
        session.execute(update(Slot).where(Slot.id == slot_id).values(lease_until=Slot.lease_until - 2 * LEASE_S))


def _off(catalog: Catalog, slot_id: str) -> None:
    with catalog.write() as session:
        switch_off(session, slots.get(session, slot_id), "test")


def _slot(catalog: Catalog, slot_id: str) -> Slot:
    with catalog.read() as session:
        return slots.get(session, slot_id)


def test_of_eight_who_claim_a_slot_one_gets_it(catalog: Catalog) -> None:
    slot_id = _want(catalog, _experiments(catalog)[0])
    start = Barrier(THREADS)

    def race(number: int) -> Hold | None:
        start.wait()
        return _claim(catalog, slot_id, f"h{number}")

    with ThreadPoolExecutor(THREADS) as pool:
        holds = [hold for hold in pool.map(race, range(THREADS)) if hold]

    assert len(holds) == 1
    assert _slot(catalog, slot_id).holder == holds[0].holder


def test_a_holder_whose_lease_ran_out_writes_nothing_once_another_has_the_slot(catalog: Catalog) -> None:
    slot_id = _want(catalog, _experiments(catalog)[0])
    first = _claim(catalog, slot_id, "first")
    assert first
    _run_out(catalog, slot_id)
    second = _claim(catalog, slot_id, "second")
    assert second

    with catalog.write() as session:
        assert not slots.become_ready(session, first, endpoint="http://127.0.0.1:1", seq=1)
        assert slots.renew(session, first, LEASE_S) is None
        assert slots.renew(session, second, LEASE_S)
    assert _slot(catalog, slot_id).state == SlotState.STARTING


def test_a_lease_that_ran_out_is_renewed_while_nobody_else_came(catalog: Catalog) -> None:
    slot_id = _want(catalog, _experiments(catalog)[0])
    hold = _claim(catalog, slot_id)
    assert hold
    _run_out(catalog, slot_id)

    with catalog.write() as session:
        assert slots.renew(session, hold, LEASE_S)
        assert slots.is_held(session, slot_id)


def test_a_slot_beyond_the_quota_is_refused_and_leaves_nothing(catalog: Catalog) -> None:
    one, other = _experiments(catalog, 2)
    _want(catalog, one, quota=1)

    with pytest.raises(InvalidRequestError, match=r"maximum number of GPUs allowed \(1\)"):
        _want(catalog, other, quota=1)

    with catalog.read() as session:
        assert len(session.scalars(select(Slot)).all()) == 1
        assert len(session.scalars(select(Outbox)).all()) == 1


def test_wanting_a_wanted_slot_starts_nothing_more(catalog: Catalog) -> None:
    [experiment] = _experiments(catalog)

    assert _want(catalog, experiment, quota=1) == _want(catalog, experiment, quota=1)

    with catalog.read() as session:
        assert len(session.scalars(select(Outbox)).all()) == 1


def test_a_slot_that_nobody_holds_stops_at_once_and_frees_the_quota(catalog: Catalog) -> None:
    one, other = _experiments(catalog, 2)
    slot_id = _want(catalog, one, quota=1)
    _off(catalog, slot_id)

    assert _slot(catalog, slot_id).state == SlotState.STOPPED
    assert _want(catalog, other, quota=1)


def test_each_time_a_slot_is_wanted_its_flow_has_a_key_of_its_own(catalog: Catalog) -> None:
    [experiment] = _experiments(catalog)
    for _ in range(3):
        slot_id = _want(catalog, experiment)
        _off(catalog, slot_id)

    with catalog.read() as session:
        epochs = [entry.payload["epoch"] for entry in session.scalars(select(Outbox).order_by(Outbox.id))]
    assert epochs == [0, 1, 2]


def test_a_draining_process_lets_go_of_a_slot_wanted_again_so_that_the_next_takes_it(catalog: Catalog) -> None:
    [experiment] = _experiments(catalog)
    slot_id = _want(catalog, experiment)
    hold = _claim(catalog, slot_id)
    assert hold
    _off(catalog, slot_id)
    with catalog.write() as session:
        assert slots.become(session, hold, SlotState.DRAINING)
    _want(catalog, experiment)

    with catalog.write() as session:
        assert slots.release(session, hold, error=None, failed_seq=None)

    assert _slot(catalog, slot_id).state == SlotState.LOST
    assert _claim(catalog, slot_id, "next")


def test_a_slot_answers_only_while_it_is_ready_wanted_and_alive(catalog: Catalog) -> None:
    [experiment] = _experiments(catalog)
    slot_id = _want(catalog, experiment)
    hold = _claim(catalog, slot_id)
    assert hold

    def serving() -> int:
        with catalog.read() as session:
            return len(slots.serving(session, experiment))

    assert serving() == 0
    with catalog.write() as session:
        slots.become_ready(session, hold, endpoint="http://127.0.0.1:1", seq=1)
    assert serving() == 1
    _run_out(catalog, slot_id)
    assert serving() == 0
    with catalog.write() as session:
        slots.renew(session, hold, LEASE_S)
    _off(catalog, slot_id)
    assert serving() == 0
    with catalog.read() as session:
        assert not is_wanted(session, experiment)


def test_the_slot_of_a_process_known_to_be_dead_is_free_before_its_lease_runs_out(catalog: Catalog) -> None:
    slot_id = _want(catalog, _experiments(catalog)[0])
    assert _claim(catalog, slot_id)

    with catalog.write() as session:
        slots.died(session, slot_id, "host", pid=2)
    assert _claim(catalog, slot_id, "too early") is None
    with catalog.write() as session:
        slots.died(session, slot_id, "host", pid=1)
    assert _claim(catalog, slot_id, "next")
