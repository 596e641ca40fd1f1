"""Processes of this machine that held an attempt or watched over a slot: whether one is dead, and ending one."""

import os
import platform
from typing import NamedTuple

import psutil

from tasks.devices.here import born

_ENDING_S = 5.0


class Process(NamedTuple):
    """A process as the catalog knows it: machine, number, and when it began, in `born`'s words."""

    host: str
    pid: int | None
    born: str


def is_dead(known: Process) -> bool:
    """Say whether the process is known to be gone; of another machine's nothing is known."""
    here = known.host == platform.node() and known.pid is not None and known.born
    return bool(here) and _find(known) is None


def end(known: Process) -> bool:
    """Kill the process and its descendants, if it lives on this machine; say whether there was one.

    Its claim is lost and fenced by now: all that it can still do is hold the device.
    """
    if known.host != platform.node():
        return False
    found = _find(known)
    if found is None or found.pid == os.getpid():
        return False
    family = [found, *found.children(recursive=True)]
    for process in family:
        _kill(process)
    psutil.wait_procs(family, timeout=_ENDING_S)
    return True


def _find(known: Process) -> psutil.Process | None:
    """Return the living process; None if its number belongs to nobody, or to a later process."""
    if known.pid is None or not known.born or born(known.pid) != known.born:
        return None
    try:
        return psutil.Process(known.pid)
    except psutil.Error:
        return None


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return
