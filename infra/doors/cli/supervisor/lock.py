"""One supervisor per home folder, held by a file lock that ends with its holders, however they end."""

import fcntl
import os
from pathlib import Path

from configs.errors import ConflictError


def lock_home(home: Path) -> int:
    """Make *home* (mode 700) and lock it; the lock lives as long as any copy of the returned descriptor.

    Raises:
        ConflictError: If another `up` has it.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # A lock and no file with a process's number: that number may be another process's after a crash.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
        os.close(descriptor)
        raise ConflictError(
            f"Teachback is running already on {home} (process {pid}). Stop it, or choose another --home."
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def holder(home: Path) -> int | None:
    """Process id of the `up` that runs on *home*, or None."""
    try:
        descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or b"0")
    finally:
        os.close(descriptor)
    return None
