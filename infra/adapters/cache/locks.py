"""Locks between processes and threads, as files.

`flock` and not `lockf`: a POSIX record lock belongs to the process and is lost when any of its threads closes the file.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Take the lock alone if nobody has it; return its open file, or None. Closing the file gives it back."""
    return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock: alone, or together with others who share it. Waits as long as somebody is in the way."""
    while (handle := _lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)) is None:
        pass  # the file was removed between opening and locking it: the next one is new
    try:
        yield
    finally:
        os.close(handle)


def _lock(path: Path, operation: int) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, operation)
        if _is_still(path, handle):
            return handle
    except BlockingIOError:
        pass
    except BaseException:  # it goes on up, an interrupt too; the lock would be held as long as the file is open
        os.close(handle)
        raise
    os.close(handle)
    return None


def _is_still(path: Path, handle: int) -> bool:
    """Whether the name still leads to the file that was locked."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
