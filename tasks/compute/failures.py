"""What went wrong, in the words of the protocol."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from configs.wire.host import Failed, FailureCode


class ComputeError(Exception):
    """A failure with its code; the message is for people and names no file."""

    code: FailureCode = "bundle_error"


class BundleFaultError(ComputeError):
    """The bundle's configuration or code does not do what is asked."""


class BadInputError(ComputeError):
    """The request's data cannot be used."""

    code: FailureCode = "bad_input"


class UnreadableError(BadInputError):
    """An image or its label cannot be read, or not be prepared as the bundle says, or its network fails on it."""

    code: FailureCode = "unreadable"


class NotFiniteError(ComputeError):
    """A loss or a prediction is NaN or infinite."""

    code: FailureCode = "not_finite"


class OutOfMemoryError(ComputeError):
    """The device's memory does not suffice, however little is asked of it at a time."""

    code: FailureCode = "out_of_memory"


def failed(error: BaseException, *, about: str | None = None) -> Failed:
    """Return the message for an error; `about` names the prediction or load that failed.

    Foreign errors are told by their type alone: their text may hold paths and names.
    """
    if isinstance(error, ComputeError):
        return Failed(id=about, code=error.code, message=str(error)[:4000])
    kind = type(error).__name__
    if is_memory(error):
        return Failed(id=about, code="out_of_memory", message="The device's memory did not suffice")
    return Failed(id=about, code="bundle_error", message=f"The bundle failed with {kind}; the host's log says where")


def is_memory(error: BaseException) -> bool:
    """Say whether memory did not suffice, on an accelerator or not: PyTorch's allocator has no type on the CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "not enough memory" in str(error))


@contextmanager
def preparing(what: str = "The image or its label") -> Iterator[None]:
    """Tell what the block cannot read or prepare from a memory that does not suffice; the log says where it failed.

    Args:
        what: What is read, as the message names it.

    Raises:
        UnreadableError: If the block fails in the ways that files and MONAI's transforms do.
    """
    try:
        yield
    except (OSError, EOFError, RuntimeError) as error:
        beneath: BaseException | None = error  # MONAI wraps whatever a transform raises, layer by layer
        while beneath is not None:
            if is_memory(beneath):
                raise beneath from None
            beneath = beneath.__cause__
        traceback.print_exc()
        raise UnreadableError(f"{what} cannot be read or prepared; the host's log says why") from error


@contextmanager
def answering() -> Iterator[None]:
    """Tell a network that fails on what it is given from a memory that does not suffice; the log says where it failed.

    Raises:
        UnreadableError: If the block fails, but for memory and for what is our own to say.
    """
    try:
        yield
    except ComputeError:
        raise
    except Exception as error:  # whatever a bundle's network, inferer or loss raises
        if is_memory(error):
            raise
        traceback.print_exc()
        raise UnreadableError(
            f"The bundle's network fails on it ({type(error).__name__}); the host's log says where"
        ) from error
