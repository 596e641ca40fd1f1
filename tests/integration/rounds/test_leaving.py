"""Every way out of a round's flow: what the catalog hears of it, and what leaves the process."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from configs.errors import (
    BundleError,
    NotFoundError,
    StoreError,
    SupersededError,
    TaskFailedError,
)
from configs.states import AttemptState, JobStatus
from infra.adapters.catalog.tables import Attempt, Job
from infra.wiring import Parts
from tasks.rounds import tasks as edge
from tasks.rounds.count import notify
from tasks.rounds.jobs import attempts
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.steps.failures import in_our_words
from tests.builders import build, job, notice, start_loop

PATIENT = "/pacs/Doe^Jane/1.2.840.113619.2.55.3"


@pytest.fixture
def round_id(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A round that is due, in the catalog that this process's flow opens."""
    world = build(parts.catalog)
    loop = start_loop(parts.catalog, world, round_size=1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        found = session.scalars(select(Job.id).where(Job.parent_id == loop)).one()
    monkeypatch.setenv("TEACHBACK_HOME", str(parts.settings.home))
    monkeypatch.setenv("TEACHBACK_CATALOG_URL", parts.settings.catalog_url)
    edge.parts.cache_clear()
    yield found
    edge.parts().close()
    edge.parts.cache_clear()


def _leave_by(job_id: str, n: int, way_out: Callable[[], object]) -> None:
    with edge.holding(job_id, n) as held:
        assert held is not None
        with in_our_words(edge.parts(), held[0]):
            way_out()


def _raise(error: BaseException) -> Callable[[], object]:
    def out() -> None:
        raise error

    return out


def _attempt(parts: Parts, job_id: str, n: int) -> Attempt:
    with parts.catalog.read() as session:
        return session.get_one(Attempt, (job_id, n))


def test_a_worker_that_is_stopped_again_and_again_never_ends_the_round(parts: Parts, round_id: str) -> None:
    for n in range(1, attempts.WITHOUT_PROGRESS + 3):
        with pytest.raises(KeyboardInterrupt):
            _leave_by(round_id, n, _raise(KeyboardInterrupt()))
        assert _attempt(parts, round_id, n).state == AttemptState.CLAIMED, "whether it was cancelled is not known here"
        with parts.catalog.write() as session:
            attempts.lose(session, round_id, n, "its flow run ended before its time")
        assert job(parts.catalog, round_id).current_attempt == n + 1

    assert job(parts.catalog, round_id).status == JobStatus.RUNNING


def test_a_signal_to_a_job_that_is_being_cancelled_ends_it(parts: Parts, round_id: str) -> None:
    def cancelled() -> None:
        with parts.catalog.write() as session:
            cancel(session, round_id, "ann")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _leave_by(round_id, 1, cancelled)

    assert job(parts.catalog, round_id).status == JobStatus.CANCELED


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", PATIENT),
        OperationalError(f"SELECT {PATIENT}", {}, Exception("away")),
        StoreError("The image store did not answer: ask again"),
    ],
)
def test_a_passing_failure_is_followed_by_the_next_attempt_without_counting_as_the_rounds_own(
    parts: Parts, round_id: str, error: Exception
) -> None:
    with pytest.raises(TaskFailedError) as told:
        _leave_by(round_id, 1, _raise(error))

    assert told.value.passing
    assert told.value.__suppress_context__, "Prefect would log what it was raised from"
    assert _attempt(parts, round_id, 1).state == AttemptState.LOST
    assert job(parts.catalog, round_id).current_attempt == 2
    assert job(parts.catalog, round_id).failures == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", PATIENT),
        NotFoundError("image", PATIENT),
        ValueError(f"cannot read {PATIENT}"),
        OperationalError(f"SELECT {PATIENT}", {}, Exception("away")),
    ],
)
def test_what_leaves_a_step_names_no_patient(parts: Parts, round_id: str, error: Exception) -> None:
    with pytest.raises(TaskFailedError) as told:
        _leave_by(round_id, 1, _raise(error))

    log = (parts.settings.home / "work" / round_id / "1" / "flow" / "log.txt").read_text()
    for text in (str(told.value), told.value.detail, _attempt(parts, round_id, 1).error, log):
        assert "Doe" not in text
        assert "1.2.840" not in text
    assert type(error).__name__ in log
    assert "test_leaving.py" in log, "where it was raised may be said"


def test_the_jobs_owner_is_told_what_the_bundle_said(parts: Parts, round_id: str) -> None:
    with pytest.raises(TaskFailedError, match="bundle_error"):
        _leave_by(round_id, 1, _raise(BundleError("the loss has no attribute 'weight'")))

    assert "no attribute 'weight'" in _attempt(parts, round_id, 1).error
    assert job(parts.catalog, round_id).failures == 1


def test_an_attempt_that_was_superseded_ends_quietly(parts: Parts, round_id: str) -> None:
    _leave_by(round_id, 1, _raise(SupersededError("Attempt 1 lost its claim.")))

    assert job(parts.catalog, round_id).status == JobStatus.RUNNING


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.DONE])
def test_an_attempt_leaves_its_logs_and_no_copies_behind(parts: Parts, round_id: str, status: JobStatus) -> None:
    work = parts.settings.home / "work" / round_id / "1"
    checkpoints = parts.blobs.attempt_folder(round_id, 1) / "checkpoints"

    def train() -> None:
        for folder in (work / "labels", work / "fine_tune" / "tmp", checkpoints):
            folder.mkdir(parents=True)
            (folder / "file").write_text("voxels")
        (work / "fine_tune" / "log.txt").write_text("epoch 1")
        with parts.catalog.write() as session:
            session.get_one(Job, round_id).status = status

    _leave_by(round_id, 1, train)

    assert [path.name for path in work.rglob("*") if path.is_file()] == ["log.txt"]
    assert checkpoints.exists() == (status == JobStatus.RUNNING), "another attempt goes on from there"
