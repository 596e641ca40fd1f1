"""Every error this project raises on purpose.

TeachbackError
├── NotFoundError          the named thing does not exist                     404
├── ConflictError          the request is right, the moment is not            409
├── InvalidRequestError    the request contradicts itself or the rules        400
│   ├── MismatchError        what was given can be read but does not fit
│   ├── NoVolumeError        an image that is no volume to annotate
│   └── UnreadableError      an image that a bundle cannot read
├── UnauthorizedError      no valid key or token                              401
├── ForbiddenError         a valid key without the right                      403
├── BusyError              try again soon                                     503
├── UpstreamError          a system we depend on failed                       502
│   ├── StoreError           an image store
│   │   ├── AccessError        it does not take our credentials
│   │   ├── DamagedImageError  it answers, but cannot give this image
│   │   ├── UnfinishedError    somebody is still writing this file
│   │   └── ReadOnlyStoreError it does not let us write
│   ├── OrchestratorError    Prefect
│   └── TrackingError        MLflow
├── CorruptError           stored bytes do not match their hash               500
├── StorageFullError       this host's disk has no room left                  507
├── TaskFailedError        a step of a round failed, in a table's words       500
├── SupersededError        this attempt is no longer the current one          409
├── NoRoomError            no device here has the memory that is needed       500
└── HostError              a bundle host failed                               400
    ├── HostDiedError        it ended without an answer
    ├── BundleError          the bundle's own code failed or does not fit
    ├── NotFiniteError       a loss or prediction is NaN or infinite
    ├── OutOfMemoryError     the device's memory did not suffice
    └── DiskFullError        it left too little of the disk

The numbers are what the doors answer; nothing below a door knows them.
Messages say what was asked for, what was found, and what to do.
"""

import errno
from collections.abc import Collection
from difflib import get_close_matches


class TeachbackError(Exception):
    """The root: catch this to catch only what we meant to raise."""


class NotFoundError(TeachbackError):
    """A thing was asked for by name and there is none.

    Args:
        kind: What was looked for, such as `dataset`.
        name: The name that was asked for.
        known: Names that exist; a near one is suggested.
    """

    def __init__(self, kind: str, name: str, known: Collection[str] = ()) -> None:
        self.kind = kind
        self.name = name
        near = get_close_matches(name, known, n=1)
        self.hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"No {kind} is named {name!r}.{self.hint}")


class ConflictError(TeachbackError):
    """The request is well formed but cannot be done in the present state."""


class InvalidRequestError(TeachbackError):
    """The request contradicts itself, or a rule."""


class MismatchError(InvalidRequestError):
    """What was given can be read but does not fit: a label on another grid, or with impossible values."""


class NoVolumeError(InvalidRequestError):
    """An image that nobody can annotate as a volume, such as a localizer or a series with a missing slice.

    Args:
        kind: What it is instead; images are counted by it.
        why: What was found, naming slices and nothing of the patient, and what to do.
    """

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {why}")


class UnreadableError(InvalidRequestError):
    """An image that a bundle's own code cannot read or prepare."""


class UnauthorizedError(TeachbackError):
    """The caller showed no valid key or token."""


class ForbiddenError(TeachbackError):
    """The caller is known and lacks the right."""


class BusyError(TeachbackError):
    """The part that has to answer cannot do so now.

    Args:
        message: What is busy, and what to do.
        retry_after_s: Seconds after which asking again makes sense.
    """

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class UpstreamError(TeachbackError):
    """A system this project depends on failed or answered nonsense."""


class StoreError(UpstreamError):
    """An image store could not be read or written."""


class AccessError(StoreError):
    """An image store refuses our credentials: they are wrong, or have expired."""


class DamagedImageError(StoreError):
    """An image store answers, but does not give this one image whole."""


class UnfinishedError(StoreError):
    """A store's file that changed while it was read: its writer has not finished."""


class ReadOnlyStoreError(StoreError):
    """An image store that can be read refuses to be written, now and later."""


class OrchestratorError(UpstreamError):
    """Prefect could not be reached or refused the run."""


class TrackingError(UpstreamError):
    """MLflow could not be reached or refused the record."""


class CorruptError(TeachbackError):
    """Bytes in our own store do not match the hash that names them."""


class StorageFullError(TeachbackError):
    """This host's disk has no room for what is to be kept."""


def is_full(error: BaseException | None) -> bool:
    """Say whether an error of the operating system or of a database means that a disk has no room."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    beneath = getattr(error, "orig", None)  # what SQLAlchemy was told by the database
    said = getattr(beneath, "sqlite_errorname", None), getattr(beneath, "sqlstate", None)
    return isinstance(error, StorageFullError) or said[0] == "SQLITE_FULL" or said[1] == "53100"


class SupersededError(TeachbackError):
    """This attempt has lost its claim: it stops and writes nothing more."""


class TaskFailedError(TeachbackError):
    """A step of a round failed. Its text is made from a table: it names no image, no path and no person.

    Args:
        code: Which kind of failure.
        sentence: The table's words for it.
        passing: Whether another try may well not meet it again.
        detail: What a caller who may see the job is told.
    """

    def __init__(self, code: str, sentence: str, *, passing: bool, detail: str) -> None:
        self.code = code
        self.passing = passing
        self.detail = detail
        super().__init__(f"{code}: {sentence}")


class HostError(TeachbackError):
    """A bundle host failed; the subclasses say how."""


class HostDiedError(HostError):
    """The host ended, or fell silent, without an answer."""


class BundleError(HostError):
    """The bundle's own code or configuration failed, or does not fit the request."""


class NotFiniteError(HostError):
    """A loss or a prediction is NaN or infinite."""


class NoRoomError(TeachbackError):
    """No device has as much memory left as is needed; the message names what is needed and what is free."""


class OutOfMemoryError(HostError):
    """The device's memory did not suffice."""


class DiskFullError(HostError):
    """The host left less of the disk than others need, and was killed."""
