"""Limits that the host puts on itself before any bundle code is read; a hard limit cannot be raised again."""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 4096
_PROCESSES = 4096
_FILE_BYTES = 64 * 2**30


def limit(memory_mib: int) -> None:
    """Bound address space (0 = not), file size, open files and processes; write no core dump."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_NPROC: _PROCESSES,
    }
    if memory_mib:
        wanted[resource.RLIMIT_AS] = memory_mib * 2**20
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; ends at once if it is already gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
