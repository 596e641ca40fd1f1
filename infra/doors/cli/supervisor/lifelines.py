"""No process stays behind: adopting orphans, finding what is ours, ending it.

Two nets, since each has a hole. Descendants are found through the process tree, which holds as long as orphans come
back to us (Linux's child subreaper). Everything that a supervisor starts also carries `MARK` in its environment, which
finds what an earlier, killed installation of the same home left behind, on every platform.
"""

import ctypes
import os
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "TEACHBACK_UP_HOME"
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopts_orphans() -> bool:
    """Tell whether this platform gives orphans to an ancestor of ours; elsewhere a kill -9 may leave processes."""
    return sys.platform == "linux"


def adopt_orphans() -> bool:
    """Make this process the parent of its descendants' orphans; False where the platform can't."""
    if not adopts_orphans():
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def reap_orphans(known: Collection[int]) -> None:
    """Collect the exit status of ended children that nobody waits for; stops at one of *known*, which has a waiter."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in known:
            return
        os.waitpid(ended.si_pid, 0)


def children(pid: int, *, but: Collection[int] = ()) -> list[psutil.Process]:
    """The processes that *pid* started or adopted, without *but*."""
    with suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children() if child.pid not in but]
    return []


def descendants(*, but: Collection[int] = ()) -> list[psutil.Process]:
    """All processes below this one, without the trees of its children *but*."""
    found = []
    for child in children(os.getpid(), but=but):
        found.append(child)
        with suppress(psutil.NoSuchProcess):
            found.extend(child.children(recursive=True))
    return found


def marked(home: Path) -> list[psutil.Process]:
    """All processes of this user that a supervisor of *home* started, directly or not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(home):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another user's, or gone
    return found


def ask_to_end(processes: Iterable[psutil.Process]) -> None:
    """Send TERM to each of *processes* that still lives."""
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()


def living(processes: Iterable[psutil.Process], *, wait_s: float) -> list[psutil.Process]:
    """Wait at most *wait_s* seconds for *processes* to end; return those that have not."""
    return psutil.wait_procs(processes, timeout=wait_s)[1]


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill *processes* and wait until they are gone."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(killed, timeout=5)
