"""What leaves a step of a round: a code and a sentence from a table, for Prefect keeps and shows it.

What went wrong in its own words goes to the job's log, redacted; of an error that is not ours, or that names what was
asked for, only where it was raised, for its text may name images, paths and people.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from configs.errors import (
    BundleError,
    ConflictError,
    CorruptError,
    DiskFullError,
    HostDiedError,
    HostError,
    InvalidRequestError,
    NotFiniteError,
    NotFoundError,
    OutOfMemoryError,
    StoreError,
    SupersededError,
    TaskFailedError,
    TeachbackError,
    UpstreamError,
)
from infra.wiring import Parts
from tasks.rounds.steps.work import Claim

LOG_STEP = "flow"


class Known(NamedTuple):
    """One kind of failure. `passing`: another try may well not meet it again. `told`: its own words are ours."""

    kind: type[Exception]
    code: str
    sentence: str
    passing: bool = False
    told: bool = True


FAULT = Known(Exception, "fault", "The software has a fault: report it with the job's log.", told=False)
KNOWN = (
    Known(StoreError, "store", "The image store could not be read.", passing=True),
    Known(UpstreamError, "upstream", "A system that the round needs did not answer.", passing=True),
    Known(HostDiedError, "host_died", "The bundle host ended without an answer.", passing=True),
    Known(OutOfMemoryError, "out_of_memory", "The device's memory did not suffice."),
    Known(DiskFullError, "disk_full", "The bundle host filled the disk."),
    Known(NotFiniteError, "not_finite", "A loss or a prediction is not finite."),
    Known(BundleError, "bundle_error", "The bundle's own code failed."),
    Known(HostError, "host_error", "The bundle host failed."),
    Known(CorruptError, "corrupt", "Stored bytes do not match their hash."),
    Known(NotFoundError, "not_found", "Something that the round needs is no longer there.", told=False),
    Known(ConflictError, "conflict", "Something that the round needs has changed meanwhile."),
    Known(InvalidRequestError, "bad_input", "The round's labels or settings cannot be trained on."),
    Known(TeachbackError, "refused", "The round cannot go on."),
    Known(SQLAlchemyError, "catalog", "The catalog did not answer.", passing=True, told=False),
    Known(OSError, "files", "A file of this machine could not be read or written.", passing=True, told=False),
)


@contextmanager
def in_our_words(parts: Parts, held: Claim) -> Iterator[None]:
    """Let out of the block only what may be shown everywhere.

    Raises:
        SupersededError: As it was.
        TaskFailedError: For every other failure.
    """
    try:
        yield
    except (SupersededError, TaskFailedError):
        raise  # they name catalog ids only
    except Exception as error:  # noqa: BLE001 - process edge: Prefect keeps the text of whatever leaves a task
        raise failed(parts, held, error) from None


def failed(parts: Parts, held: Claim, error: Exception) -> TaskFailedError:
    """Return what stands for an error, and put its own words into the job's log."""
    known = next((each for each in KNOWN if isinstance(error, each.kind)), FAULT)
    words = parts.redactor.redact(str(error))
    place = "".join(traceback.format_tb(error.__traceback__))
    _log(parts, held, f"{type(error).__name__}: {words if known.told else known.sentence}\n{place}")
    told = words if known.told else f"{known.sentence} ({type(error).__name__}, see the job's log)"
    return TaskFailedError(known.code, known.sentence, passing=known.passing, detail=told)


def _log(parts: Parts, held: Claim, line: str) -> None:
    folder = parts.settings.home / "work" / held.job_id / str(held.n) / LOG_STEP
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log:
            log.write(line)
    except OSError:
        return  # a full disk may be what is being told of
