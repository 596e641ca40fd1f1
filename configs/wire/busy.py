"""The mark by which live requests make training wait, in shared memory: one moment, after which it means nothing.

The moment is of the monotonic clock, which all processes of a host share: a slot that was killed leaves a mark that is
over half a second later, and neither a clock that is set nor a night asleep makes one last.
"""

import mmap
import struct
import time
from pathlib import Path

# Short: what a killed slot left must not hold training up; whoever computes for longer says it again.
LASTS_S = 0.5
_MOMENT = struct.Struct("<d")


def make(path: Path) -> None:
    """Make the file if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(_MOMENT.size)


class BusyMark:
    """A device's mark.

    Args:
        path: What `make` made.
        writable: Whether this process sets it.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        with path.open("r+b" if writable else "rb") as file:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._memory = mmap.mmap(file.fileno(), _MOMENT.size, access=access)

    def set(self) -> None:
        """Say that a live request is being computed; for longer than `LASTS_S`, say it again."""
        self._memory[:] = _MOMENT.pack(time.monotonic() + LASTS_S)

    @property
    def is_set(self) -> bool:
        """Whether somebody said so of late."""
        (until,) = _MOMENT.unpack(self._memory[:])
        return bool(0 < until - time.monotonic() <= LASTS_S)
