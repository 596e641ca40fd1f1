"""This host's devices, and whether one of its processes still lives."""

import os
import shutil
import socket
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

DeviceKind = Literal["gpu", "cpu"]
# A driver that hangs must not hang what only wants to know what there is.
_TIMEOUT_S = 20.0
_STARTED = 19  # of the fields after the name in /proc/PID/stat: ticks since the host started


class Found(NamedTuple):
    """A device: a graphics processor with its memory in MiB, or the processor with its cores."""

    kind: DeviceKind
    number: int
    total: float


def host() -> str:
    """Return this host's name, as claims carry it."""
    return socket.gethostname()


@lru_cache(maxsize=1)
def devices() -> tuple[Found, ...]:
    """Return the graphics processors of this host; where there is none, its processor."""
    return _graphics() or (processor(),)


def processor() -> Found:
    """Return this host's processor, whatever else it has."""
    return Found("cpu", 0, float(len(os.sched_getaffinity(0))))


def born(pid: int) -> str:
    """Return when a process started, in words that no other process of this number has; empty = there is none.

    Counted from the start of the host, not by the wall clock: that may be set while the process lives.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return _born_elsewhere(pid)
    return "" if after_name[0] == "Z" else f"{boot}:{after_name[_STARTED]}"


def _born_elsewhere(pid: int) -> str:
    if Path("/proc/self").exists():
        return ""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def _graphics() -> tuple[Found, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=index,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (line.split(",") for line in said.splitlines() if line.strip())
    return tuple(Found("gpu", int(index), float(total)) for index, total in rows)
