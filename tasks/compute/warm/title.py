"""Shows in the process list what a forked host works on, as its own command line would.

The kernel reads a process's command line from the memory where the arguments were at its start: they are written over
there, within the room that they took; a last argument of blanks makes room for more.

Source: proc_pid_stat(5), fields 48 and 49.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

_ARG_START = 48 - 3  # fields after the name in parentheses, counted from 3
_area: list[tuple[int, int]] = []


def remember() -> None:
    """Note where the command line is; nowhere where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return
    start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    if 0 < start < end:
        _area.append((start, end - start))


def show(arguments: Sequence[str]) -> None:
    """Show *arguments* as this process's command line, cut off where the room ends."""
    if _area:
        start, size = _area[0]
        text = b"\0".join(argument.encode() for argument in [sys.executable, *arguments])[: size - 1]
        ctypes.memmove(start, text + bytes(size - len(text)), size)
