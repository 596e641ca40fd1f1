"""Prefect's edge of a round: each task names itself and calls one plain function."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from sqlalchemy.exc import SQLAlchemyError

from configs.errors import SupersededError, TaskFailedError, TeachbackError, UpstreamError
from configs.settings import Settings
from configs.specs.annotation import PublishPolicy
from configs.specs.train import TrainSpec
from infra.adapters.cache.scratch import use_scratch
from infra.wiring import Parts, open_parts
from tasks.rounds.jobs import adopt as adopting
from tasks.rounds.jobs import attempts
from tasks.rounds.records import report
from tasks.rounds.steps import decide, evaluate, finish, gather, tidy, train, work
from tasks.rounds.steps.failures import failed, in_our_words
from tasks.rounds.steps.work import Claim, Lease

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def parts() -> Parts:
    """Open this flow process's adapters, once; what is temporary goes into the home, as other processes' does."""
    settings = Settings()
    opened = open_parts(settings)
    use_scratch(settings.home / "work" / "tmp")
    return opened


def adopt(
    experiment: str, publish: PublishPolicy, train_spec: TrainSpec | None, reason: str, *, of_loop: bool = True
) -> str:
    """Make the job of a run that a person started."""
    run_id = str(flow_run.get_id())
    return adopting.adopt(
        parts(), run_id, experiment, publish=publish, train=train_spec, reason=reason, of_loop=of_loop
    )


@contextmanager
def holding(job_id: str, attempt: int) -> Iterator[tuple[Claim, Lease] | None]:
    """Claim an attempt, hold it while the block runs, and put every way out of the block into the catalog.

    Gives None if the attempt is not to be had: somebody works on it, or it was given up.
    """
    held = work.claim(parts(), job_id, attempt, flow_run_id=flow_run.get_id())
    if held is None:
        yield None
        return
    try:
        with Lease(parts(), held) as lease:
            yield held, lease
    except SupersededError:
        log.warning("attempt %s of job %s was superseded, paused or cancelled", held.n, held.job_id)
        _leave(held, attempts.end_asked)
    except TaskFailedError as error:
        _leave(held, attempts.lose if error.passing else attempts.fail, error.detail)
        raise
    except Exception as error:  # noqa: BLE001 - process edge: between two steps, a fault of our own
        told = failed(parts(), held, error)
        _leave(held, attempts.lose if told.passing else attempts.fail, told.detail)
        raise told from None
    except BaseException:  # it goes on up
        # A signal: the process ends, because the job was cancelled or because this machine's worker stops.
        _leave(held, attempts.stop)
        raise
    finally:
        _tidy(held)


def _leave(held: Claim, how: "attempts.Leaving", *reason: str) -> None:
    try:
        parts().catalog.unit(lambda session: how(session, held.job_id, held.n, *reason))
    except SQLAlchemyError as error:
        # The lease runs out, and the reconciler says it then.
        log.warning("leaving attempt %s of job %s: %s", held.n, held.job_id, type(error).__name__)


def _tidy(held: Claim) -> None:
    try:
        tidy.tidy(parts(), held)
    except (TeachbackError, SQLAlchemyError) as error:
        log.warning("the files of job %s were not tidied up: %s", held.job_id, type(error).__name__)


@task(name="gather", cache_policy=NO_CACHE)
def gather_labels(held: Claim) -> str:
    """Fix which labels the round trains on."""
    with in_our_words(parts(), held):
        return gather.gather(parts(), held)


@task(name="fine-tune", cache_policy=NO_CACHE)
def fine_tune(held: Claim, lease: Lease, snapshot: str) -> str | None:
    """Train a challenger."""
    with in_our_words(parts(), held):
        return train.fine_tune(parts(), held, lease, snapshot)


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate_versions(held: Claim, lease: Lease, snapshot: str, challenger: str) -> str:
    """Score challenger and published version on the same cases."""
    with in_our_words(parts(), held):
        return evaluate.evaluate(parts(), held, lease, snapshot, challenger)


@task(name="publish", cache_policy=NO_CACHE)
def publish_challenger(held: Claim, lease: Lease, snapshot: str, evaluation: str) -> str:
    """Let the gate decide, and carry its verdict out."""
    with in_our_words(parts(), held):
        return decide.decide(parts(), held, lease, snapshot, evaluation)


@task(name="finish", cache_policy=NO_CACHE)
def finish_round(held: Claim, snapshot: str, evaluation: str | None) -> None:
    """Close the round, and its loop or the way to the next round."""
    with in_our_words(parts(), held):
        finish.finish(parts(), held, snapshot, evaluation)


@task(name="report", cache_policy=NO_CACHE)
def report_round(held: Claim) -> None:
    """Show the round as a table in Prefect."""
    with in_our_words(parts(), held):
        sentence, rows = report.round_table(parts(), held.job_id)
        told = f"{sentence}\n\n{report.links(parts(), held.job_id)}"
        try:
            parts().orchestrator.table(f"round-{held.job_id}", rows, told, str(flow_run.get_id()))
        except UpstreamError:
            log.warning("the table of job %s could not be shown in Prefect", held.job_id)
