"""A host's `failed` message as an error of ours."""

from configs.errors import (
    BundleError,
    InvalidRequestError,
    NotFiniteError,
    OutOfMemoryError,
    TeachbackError,
    UnreadableError,
)
from configs.wire.host import Failed, FailureCode

_ERRORS: dict[FailureCode, type[TeachbackError]] = {
    "out_of_memory": OutOfMemoryError,
    "not_finite": NotFiniteError,
    "bundle_error": BundleError,
    "bad_input": InvalidRequestError,
    "unreadable": UnreadableError,
}


def error_of(failed: Failed) -> TeachbackError:
    """Return the error that stands for a failure, ready to be raised."""
    return _ERRORS[failed.code](failed.message)
