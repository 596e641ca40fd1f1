"""Limits that the host puts on itself before any bundle code is read; a hard limit cannot be raised again."""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Data loaders share tensors by descriptors, one each.
_OPEN_FILES = 4096
# Far above any weights; what writes on and on ends here before the disk does.
_FILE_BYTES = 64 * 2**30
_FIRST_TO_GO = "900"  # of 1000: what the kernel ends when memory runs out, before anything of ours


def limit(memory_mib: int, processes: int) -> None:
    """Bound the memory that a process may fill, file size, open files and processes; write no core dump.

    Memory is counted as RLIMIT_DATA does: what a process may write and shares with nobody. Its address space would
    count what is only reserved, which accelerators do by the terabyte, and files that are mapped to be read.
    The kernel does not hold the machine's own root to the number of processes: see the cage.
    """
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_DATA: memory_mib * 2**20,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; ends at once if it is already gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
