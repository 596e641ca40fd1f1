"""The forked side: from a copy of the warm process to a host like one that was started for the request."""

import importlib
import os
import random
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from configs.wire.warm import Bind, Start
from tasks.compute.answer import answer
from tasks.compute.cage.enter import CAGED, keep
from tasks.compute.warm import title

_UMASK = 0o022
_FEW = 512


def fork(start: Start, control: int, log: int) -> tuple[int, socket.socket]:
    """Fork a host.

    Args:
        start: What it is asked and may see.
        control: Its end of the control socket.
        log: Where its output goes.

    Returns:
        The process that ends with all that the bundle starts, and where it reports `CAGED` or why not.
    """

    def run() -> int:
        """Become a host, and answer its request."""
        _become(start)
        return _answer(start, control)

    shown = ["-m", "tasks.compute", start.request, str(control), str(start.memory_mib), str(start.processes)]
    return _fork(start.binds, run, shown, (control, log), processes=start.processes)


def cage_works() -> str:
    """Build a cage that shows nothing and end in it; returns why that does not work here, or nothing."""
    pid, report = _fork([], lambda: 0, [], (), processes=_FEW)
    with report:
        said = report.recv(4096)
    os.waitpid(pid, 0)
    return "" if said == CAGED else said.decode(errors="replace") or "the process died"


def _fork(
    binds: Sequence[Bind], run: Callable[[], int], shown: Sequence[str], descriptors: Sequence[int], *, processes: int
) -> tuple[int, socket.socket]:
    ours, theirs = socket.socketpair()
    # What waits in a buffer would be written twice, once by each process.
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    status = 1
    try:
        if shown:
            title.show(shown)
        _forget_signals()
        _only((*descriptors, theirs.fileno()))
        if descriptors:
            os.dup2(descriptors[-1], 1)
            os.dup2(descriptors[-1], 2)
            os.close(descriptors[-1])
        status = keep(binds, theirs, run, processes=processes)
    except BaseException:  # noqa: BLE001 - the edge of this process: it must not go on as the warm one
        traceback.print_exc()
    finally:
        os._exit(status)


def _answer(start: Start, control: int) -> int:
    """Answer the request; whatever goes wrong is in the log, and never reaches the warm process's code."""
    try:
        status = answer(Path(start.request), control, memory_mib=start.memory_mib, processes=start.processes)
    except BaseException:  # noqa: BLE001 - as at the end of any interpreter
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _become(start: Start) -> None:
    """Take on what a process of its own would have: environment, folder, random numbers, threads."""
    os.environ.clear()
    os.environ.update(start.environment)
    os.chdir(start.folder)
    os.umask(_UMASK)
    tempfile.tempdir = None  # found anew, in the new environment
    # Copies of one process would else draw the same numbers, each of them.
    random.seed()
    np.random.seed()  # noqa: NPY002 - bundles use the global one
    torch = importlib.import_module("torch")
    if torch.cuda.is_initialized():
        raise RuntimeError("The accelerator was opened before the fork")
    torch.default_generator.seed()  # not `torch.seed()`, which asks for the accelerator
    torch.set_num_threads(int(start.environment["OMP_NUM_THREADS"]))


def _forget_signals() -> None:
    """Undo the warm process's handlers."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _only(kept: Sequence[int]) -> None:
    """Close every descriptor but the first three and *kept*: other requests' sockets are among them."""
    lowest = 3
    for descriptor in sorted(kept):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
