"""Who gets how much of a device, on both databases and without one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import pytest
from sqlalchemy import select, update

from configs.errors import NoRoomError, SupersededError
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import DeviceClaim
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.devices import claims
from tasks.devices.claims import Claimant, Got, Need, Short
from tasks.devices.here import Found, born, host
from tasks.devices.hold import Calls, free_dead, holding
from tests.processes import wait_until

EIGHT_CORES = [Found("cpu", 0, 8.0)]
ONE_GPU = [Found("gpu", 0, 80_000.0)]
TWO_GPUS = [Found("gpu", 0, 80_000.0), Found("gpu", 1, 40_000.0)]
TRAIN = Need("train", 50_000.0)


def _who(holder: str, on: str = "here") -> Claimant:
    return Claimant(holder, on, pid=1, born="then", lease_s=60.0)


def _claim(catalog: Catalog, holder: str, need: Need, found: list[Found], *, dead: tuple[str, ...] = ()) -> Got | Short:
    with catalog.write() as session:
        return claims.claim(session, _who(holder), need, found, dead)


def _rows(catalog: Catalog) -> dict[str, DeviceClaim]:
    with catalog.read() as session:
        return {row.holder: row for row in session.scalars(select(DeviceClaim))}


def test_two_experiments_serve_and_a_training_gets_the_cores_that_they_leave(catalog: Catalog) -> None:
    assert _claim(catalog, "one", Need("live"), EIGHT_CORES) == Got("cpu", 0, 2.0)
    assert _claim(catalog, "two", Need("live"), EIGHT_CORES) == Got("cpu", 0, 2.0)
    assert _claim(catalog, "training", Need("train"), EIGHT_CORES) == Got("cpu", 0, 4.0)
    for number in range(5):
        assert isinstance(_claim(catalog, f"more-{number}", Need("live"), EIGHT_CORES), Got)
    assert _claim(catalog, "batch", Need("batch"), EIGHT_CORES) == Got("cpu", 0, 1.0), "at least one core"


def test_on_a_graphics_processor_all_share_its_memory_and_one_trains(catalog: Catalog) -> None:
    for experiment in ("one", "two"):
        assert _claim(catalog, experiment, Need("live", 10_000.0), ONE_GPU) == Got("gpu", 0, 10_000.0)
    assert _claim(catalog, "training", TRAIN, ONE_GPU) == Got("gpu", 0, 50_000.0)
    assert _claim(catalog, "training", TRAIN, ONE_GPU) == Got("gpu", 0, 50_000.0), "its own claim is replaced"
    assert _claim(catalog, "another", Need("train", 1.0), ONE_GPU) == Short(1.0, 0.0, training=True)
    assert _claim(catalog, "third", Need("live", 20_000.0), ONE_GPU) == Short(20_000.0, 10_000.0, training=False)
    assert _claim(catalog, "another", Need("train", 1.0), TWO_GPUS) == Got("gpu", 1, 1.0)


def test_claims_at_once_never_add_up_to_more_than_there_is(catalog: Catalog) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: _claim(catalog, f"c{n}", Need("live", 15_000.0), ONE_GPU), range(8)))

    assert sum(isinstance(each, Got) for each in found) == 5
    assert sum(row.amount for row in _rows(catalog).values()) == 75_000.0


def test_trainings_at_once_on_one_device_are_one(catalog: Catalog) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: _claim(catalog, f"t{n}", Need("train", 1.0), EIGHT_CORES), range(4)))

    assert sum(isinstance(each, Got) for each in found) == 1


def test_slots_are_asked_to_shrink_where_that_makes_room_and_only_then(catalog: Catalog) -> None:
    for experiment in ("one", "two"):
        _claim(catalog, experiment, Need("live", 20_000.0, least=14_000.0), ONE_GPU)

    assert _claim(catalog, "training", Need("train", 60_000.0), ONE_GPU) == Short(60_000.0, 40_000.0, training=False)
    assert not any(row.asked for row in _rows(catalog).values()), "in vain"

    assert isinstance(_claim(catalog, "training", TRAIN, ONE_GPU), Short)
    with catalog.write() as session:
        for experiment in ("one", "two"):
            assert claims.renew(session, experiment)
            claims.shrunk(session, experiment)
    assert isinstance(_claim(catalog, "training", TRAIN, ONE_GPU), Got)


def test_a_claim_that_is_over_is_freed_when_its_process_is_dead_and_not_before(catalog: Catalog) -> None:
    _claim(catalog, "gone", Need("train", 1.0), ONE_GPU)
    dead = (_rows(catalog)["gone"].id,)
    assert isinstance(_claim(catalog, "next", Need("train", 1.0), ONE_GPU, dead=dead), Short), "its lease is alive"
    with catalog.write() as session:
        session.execute(update(DeviceClaim).values(lease_until=now() - 8 * 3600))

    assert isinstance(_claim(catalog, "next", Need("train", 1.0), ONE_GPU), Short), "it slept, and lives"
    assert isinstance(_claim(catalog, "next", Need("train", 1.0), ONE_GPU, dead=dead), Got)


def test_another_hosts_claim_is_freed_after_twice_its_lease(catalog: Catalog) -> None:
    with catalog.write() as session:
        claims.claim(session, _who("there", on="elsewhere"), Need("live", 1.0), ONE_GPU)
    for late, freed in ((59, 0), (61, 1)):
        with catalog.write() as session:
            session.execute(update(DeviceClaim).values(lease_until=now() - late))
            assert claims.free_over(session, "here", ()) == freed


def test_of_this_hosts_processes_the_dead_are_told_from_the_living(parts: Parts) -> None:
    with holding(parts, Need("live"), holder="alive", lease_s=60.0):
        with parts.catalog.write() as session:
            gone = Claimant("dead", host(), pid=2**22 + 1, born="then", lease_s=60.0)
            claims.claim(session, gone, Need("live"), EIGHT_CORES)
            session.execute(update(DeviceClaim).values(lease_until=now() - 8 * 3600))
        assert free_dead(parts) == 1
        assert set(_rows(parts.catalog)) == {"alive"}
    assert _rows(parts.catalog) == {}


def test_a_process_that_ended_was_born_at_no_time() -> None:
    assert born(1)
    assert born(2**22 + 1) == ""


def test_a_training_waits_for_another_one_and_then_begins(parts: Parts) -> None:
    began, end = Event(), Event()

    def train_second() -> None:
        with holding(parts, Need("train"), holder="second", lease_s=60.0) as share:
            assert share.device.busy
            began.set()
            assert end.wait(30)

    with holding(parts, Need("train"), holder="first", lease_s=60.0):
        second = Thread(target=train_second)
        second.start()
        assert set(_rows(parts.catalog)) == {"first"}
    wait_until(began.is_set, "the second training")
    end.set()
    second.join(30)


def test_too_little_memory_is_an_error_that_names_what_is_needed_and_what_is_free(parts: Parts) -> None:
    with (
        pytest.raises(NoRoomError, match=r"needs 90000 MiB .* 80000 MiB are free"),
        holding(parts, Need("train", 90_000.0), holder="large", lease_s=60.0, wait_s=0.0, found=ONE_GPU),
    ):
        pytest.fail("There was no room")


def test_what_ends_the_attempt_ends_its_wait(parts: Parts) -> None:
    def superseded() -> None:
        raise SupersededError("another one has it")

    with (
        pytest.raises(SupersededError),
        holding(parts, TRAIN, holder="late", lease_s=60.0, found=ONE_GPU, calls=Calls(superseded)),
    ):
        pytest.fail("It was superseded")
    assert _rows(parts.catalog) == {}
