"""How labels count, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select, text

from configs.states import JobStatus, LabelState
from infra.adapters.catalog import jobs
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Attempt, Dataset, Image, Job, Label, LabelEvent, Outbox
from tasks.devices.claims import Claimant
from tasks.rounds.count import CheckedNotice, count_pending, notify, open_round_if_due
from tasks.rounds.jobs import attempts
from tests.builders import World, build, job, notice, start_loop

THREADS = 8


def _notify(catalog: Catalog, world: World, *notices: CheckedNotice) -> int:
    with catalog.write() as session:
        return notify(session, world.dataset, list(notices), "annotator")


def _at_once(calls: list[Callable[[], object]]) -> None:
    """Run the calls from 8 threads that start together."""
    gate = Barrier(THREADS)

    def run(mine: list[Callable[[], object]]) -> None:
        gate.wait()
        for call in mine:
            call()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, [calls[start::THREADS] for start in range(THREADS)]))


def test_the_same_notification_a_hundred_times_from_eight_threads_counts_once(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=5)

    _at_once([lambda: _notify(catalog, world, notice(world.images[0]))] * 100)

    assert job(catalog, loop).pending == 1
    with catalog.read() as session:
        assert session.scalar(select(func.count(Label.id))) == 1
        assert session.scalar(select(func.count()).select_from(LabelEvent)) == 1


def test_a_round_size_reached_from_eight_threads_at_once_opens_one_round(catalog: Catalog) -> None:
    world = build(catalog, images=16)
    loop = start_loop(catalog, world, round_size=8)

    _at_once([lambda image=image: _notify(catalog, world, notice(image)) for image in world.images])  # type: ignore[misc]

    with catalog.read() as session:
        rounds = jobs.children(session, loop)
        assert [round_.round_no for round_ in rounds] == [1]
        assert session.scalars(select(Outbox.ref).where(Outbox.kind == "start_flow")).all() == [rounds[0].id]
        assert count_pending(session, loop) == 16


def test_a_round_is_opened_while_a_notification_holds_the_data_set_and_waits_for_the_loop(postgresql_url: str) -> None:
    catalog = Catalog(postgresql_url)
    world = build(catalog)
    loop = start_loop(catalog, world)
    _notify(catalog, world, notice(world.images[0]))

    with catalog.write() as notifying:
        notifying.execute(lock(notifying, select(Dataset.id).where(Dataset.id == world.dataset)))
        with catalog.write() as finishing:
            finishing.execute(text("SET LOCAL lock_timeout = '2s'"))
            assert open_round_if_due(finishing, jobs.locked(finishing, loop), at_least=1) is not None
    catalog.close()


def test_event_numbers_are_the_order_of_commits(catalog: Catalog) -> None:
    world = build(catalog, images=16)

    _at_once([lambda image=image: _notify(catalog, world, notice(image)) for image in world.images])  # type: ignore[misc]

    with catalog.read() as session:
        numbers = session.scalars(select(LabelEvent.seq).order_by(LabelEvent.seq)).all()
    assert numbers == list(range(1, 17))


def test_labels_that_were_notified_before_the_loop_began_count(catalog: Catalog) -> None:
    world = build(catalog)
    for image in world.images[:3]:
        _notify(catalog, world, notice(image))

    loop = start_loop(catalog, world, round_size=3)

    with catalog.read() as session:
        assert jobs.open_child(session, loop) is not None


def test_an_updated_label_counts_its_image_once_a_round(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=3)

    _notify(catalog, world, notice(world.images[0], fingerprint="f1"))
    _notify(catalog, world, notice(world.images[0], fingerprint="f2"))

    assert job(catalog, loop).pending == 1
    with catalog.read() as session:
        states = {label.fingerprint: label.state for label in session.scalars(select(Label))}
    assert states == {"f1": LabelState.SUPERSEDED, "f2": LabelState.ACTIVE}


def test_a_late_copy_of_a_superseded_label_changes_nothing(catalog: Catalog) -> None:
    world = build(catalog)
    start_loop(catalog, world)
    _notify(catalog, world, notice(world.images[0], fingerprint="f1"))
    _notify(catalog, world, notice(world.images[0], fingerprint="f2"))

    assert _notify(catalog, world, notice(world.images[0], fingerprint="f1")) == 0


def test_a_removed_label_no_longer_counts_and_its_image_waits_again(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world)
    _notify(catalog, world, notice(world.images[0]))

    _notify(catalog, world, notice(world.images[0], kind="removed"))

    assert job(catalog, loop).pending == 0
    with catalog.read() as session:
        assert session.get_one(Image, world.images[0]).open


def test_a_label_put_back_after_its_removal_trains_but_is_not_counted_again(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world)
    for kind in ("added", "removed", "added"):
        _notify(catalog, world, notice(world.images[0], kind=kind))

    assert job(catalog, loop).pending == 0
    with catalog.read() as session:
        label = session.scalars(select(Label)).one()
    assert (label.state, label.seq) == (LabelState.ACTIVE, 3)


def test_an_imported_label_makes_its_image_labelled_and_never_counts(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=1)

    _notify(catalog, world, notice(world.images[0]).model_copy(update={"imported": True}))

    with catalog.read() as session:
        assert not session.get_one(Image, world.images[0]).open
        assert jobs.open_child(session, loop) is None


def test_a_quarantined_label_is_kept_and_does_not_count(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=1)

    _notify(catalog, world, notice(world.images[0]).model_copy(update={"quarantined": True}))

    with catalog.read() as session:
        assert session.scalars(select(Label.state)).all() == [LabelState.QUARANTINED]
        assert session.get_one(Image, world.images[0]).open
        assert jobs.open_child(session, loop) is None


def test_an_attempt_can_be_claimed_once(catalog: Catalog) -> None:
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=1)
    _notify(catalog, world, notice(world.images[0]))
    with catalog.read() as session:
        round_ = jobs.open_child(session, loop)
    assert round_ is not None
    won: list[bool] = []

    def claim() -> None:
        with catalog.write() as session:
            won.append(attempts.claim(session, round_.id, 1, Claimant("h", "here", 1, born="", lease_s=60)))

    _at_once([claim] * THREADS)

    assert sorted(won) == [False] * (THREADS - 1) + [True]
    assert job(catalog, round_.id).status == JobStatus.RUNNING


def _claimed_round(catalog: Catalog, *, max_retries: int = 1) -> tuple[str, Job]:
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=1, max_retries=max_retries)
    _notify(catalog, world, notice(world.images[0]))
    with catalog.write() as session:
        round_ = jobs.open_child(session, loop)
        assert round_ is not None
        attempts.claim(session, round_.id, 1, Claimant("h", "here", 1, born="", lease_s=60))
    return loop, round_


def test_a_lost_attempt_is_followed_by_the_next_and_may_write_nothing_more(catalog: Catalog) -> None:
    _, round_ = _claimed_round(catalog)

    with catalog.write() as session:
        attempts.lose(session, round_.id, 1, "its host went away")

    with catalog.write() as session:
        assert not attempts.renew(session, round_.id, 1, holder="h", lease_s=60)
        assert attempts.claim(session, round_.id, 2, Claimant("g", "there", 2, born="", lease_s=60))


def test_three_attempts_without_progress_end_the_round_and_its_loop_in_error(catalog: Catalog) -> None:
    loop, round_ = _claimed_round(catalog)

    for n in (1, 2, 3):
        with catalog.write() as session:
            attempts.claim(session, round_.id, n, Claimant("h", "here", 1, born="", lease_s=60))
            attempts.lose(session, round_.id, n, "killed")

    assert job(catalog, round_.id).status == JobStatus.ERROR
    assert job(catalog, loop).status == JobStatus.ERROR
    assert "Round 1 failed" in job(catalog, loop).message


def test_an_attempt_with_progress_begins_the_count_anew(catalog: Catalog) -> None:
    _, round_ = _claimed_round(catalog)
    for n in (1, 2, 3, 4):
        with catalog.write() as session:
            attempts.claim(session, round_.id, n, Claimant("h", "here", 1, born="", lease_s=60))
            if n == 2:
                attempts.progressed(session, round_.id, n)
            attempts.lose(session, round_.id, n, "killed")

    assert job(catalog, round_.id).status == JobStatus.RUNNING
    assert job(catalog, round_.id).current_attempt == 5


def test_a_permanent_failure_is_retried_as_often_as_the_spec_says(catalog: Catalog) -> None:
    loop, round_ = _claimed_round(catalog, max_retries=1)
    with catalog.write() as session:
        attempts.fail(session, round_.id, 1, "not finite")
        attempts.claim(session, round_.id, 2, Claimant("h", "here", 1, born="", lease_s=60))

    with catalog.write() as session:
        attempts.fail(session, round_.id, 2, "not finite")

    assert job(catalog, loop).status == JobStatus.ERROR
    with catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == 2
