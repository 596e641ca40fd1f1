"""Forks a process into a cage: a keeper outside, a first process that collects orphans, and the caged one."""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from configs.wire.warm import Bind
from tasks.compute.cage import kernel, root
from tasks.compute.cage.proof import NoCageError, namespaces, prove

CAGED = b"caged"
_ALL = kernel.NEW_MOUNT | kernel.NEW_PID | kernel.NEW_NET | kernel.NEW_IPC | kernel.NEW_UTS | kernel.NEW_CGROUP


def keep(binds: Sequence[Bind], report: socket.socket, run: Callable[[], int], *, processes: int) -> int:
    """Run *run* in a cage and return its exit status; call it in a process just forked, which ends with that.

    TERM ends the caged process and all that it started before this returns; the death of this process's parent ends
    them too.

    Args:
        binds: What it sees of the file system, parents before what lies in them.
        report: Gets `CAGED` before *run* is called, or why there is no cage; then it is closed.
        run: Called in the cage; returns the exit status.
        processes: How many may be in the cage, where the kernel counts them for each namespace.
    """
    parent = os.getppid()
    # Until there is a process to end, TERM waits: it would kill this one and leave the other to nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    kernel.die_by(signal.SIGKILL)
    # The parent may have died before the line above, and then no signal comes.
    if parent == 1:
        return 1
    os.setsid()
    outside = namespaces()
    try:
        _unshare()
    except OSError as refused:
        report.sendall(str(refused).encode())
        return 1
    first = os.fork()
    if not first:
        os._exit(_first(binds, report, run, outside=outside, processes=processes))
    report.close()
    signal.signal(signal.SIGTERM, lambda *_: _end(first))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, status = os.waitpid(first, 0)
    return _as_exit(status)


def _unshare() -> None:
    """Enter a new user namespace with the same user and no other, then all the others."""
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEW_USER)
    # The kernel lets a user map their own group only once setgroups can no longer take groups away.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    kernel.unshare(_ALL)


def _first(
    binds: Sequence[Bind],
    report: socket.socket,
    run: Callable[[], int],
    *,
    outside: dict[str, str],
    processes: int,
) -> int:
    """Be the first process of the namespace: build the cage, start the caged process, collect orphans until it ends."""
    kernel.die_by(signal.SIGKILL)
    try:
        kernel.name_host("bundle-host")
        kernel.loopback_up()
        root.build(binds, processes=processes)
        # Last of all, since every step above needs a right that is given up here.
        kernel.drop_privileges()
        prove(binds, outside=outside)
    except (OSError, NoCageError) as refused:
        report.sendall(f"{type(refused).__name__}: {refused}".encode()[:2000])
        return 1
    caged = os.fork()
    if not caged:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        report.sendall(CAGED)
        report.close()
        os._exit(run())
    report.close()
    # Whatever the bundle leaves behind becomes a child of this process; the kernel kills the rest when it ends.
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == caged:
            return _as_exit(status)


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _as_exit(status: int) -> int:
    """Return a wait status as an exit status, a signal as shells write it: 128 and its number."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
