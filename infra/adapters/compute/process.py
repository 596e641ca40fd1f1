"""Bundle hosts as processes of this machine: forked from a warm one where that answers, else started."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from configs.errors import InvalidRequestError
from configs.wire.host import HostRequest, TrainRequest, write_request
from configs.wire.warm import Start
from infra.adapters.compute import warm as warm_process
from infra.adapters.compute.base import CageLevel
from infra.adapters.compute.bounds import Disk, machine_mib
from infra.adapters.compute.cage import View, binds, probe, wrap
from infra.adapters.compute.children import Child, StartedChild
from infra.adapters.compute.conversation import HostProcess
from infra.adapters.compute.processes import ROOT

_log = logging.getLogger(__name__)


class ProcessHosts:
    """Starts `python -m tasks.compute`, caged; or has a process forked that has its imports done.

    Args:
        silence_s: A host that owes an answer and says nothing for so long is killed.
        memory_mib: What one process of a host may fill of the machine's memory; None = nine tenths of it.
        processes: How many a host may be, threads counted; the kernel does not hold a started host of root to it.
        keep_free_mib: A host is killed when the disk of its folders has less left than that.
        level: The cage to use; None = the strongest that works.
        warm: The warm process's socket; None = every host is started. Used in the strong cage alone.
    """

    def __init__(
        self,
        *,
        silence_s: float = 600.0,
        memory_mib: int | None = None,
        processes: int = 2048,
        keep_free_mib: int = 1024,
        level: CageLevel | None = None,
        warm: Path | None = None,
    ) -> None:
        self._silence_s = silence_s
        self._memory_mib = memory_mib or int(machine_mib() * 0.9)
        self._processes = processes
        self._keep_free_mib = keep_free_mib
        self._warm = warm
        self._level: CageLevel = level or probe()
        # A child that dies with its parent dies with the *thread* that started it: so one thread starts them
        # all, and lives as long as this object or any of its hosts.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bundle-hosts")

    @property
    def level(self) -> CageLevel:
        """`bubblewrap`, or `limits`, which is no security boundary."""
        return self._level

    def start(
        self,
        request: HostRequest,
        *,
        work: Path,
        bundle: Path,
        readable: Sequence[Path] = (),
        threads: int | None = None,
    ) -> HostProcess:
        """Start a host on a request (see `base.BundleHosts.start`).

        Raises:
            InvalidRequestError: If a file or folder that it shall see is not there.
        """
        work = work.absolute()
        for name in ("in", "out", "tmp"):
            (work / name).mkdir(parents=True, exist_ok=True)
        write_request(request, work / "in" / "request.json")
        view = _view(request, [bundle.absolute(), *(path.absolute() for path in readable)], [work])
        start = Start(
            request=str(work / "in" / "request.json"),
            folder=str(work / "tmp"),
            memory_mib=self._memory_mib,
            processes=self._processes,
            environment=_environment(work / "tmp", threads),
            binds=binds(view, ROOT),
        )
        ours, theirs = socket.socketpair()
        try:
            with theirs, (work / "log.txt").open("ab") as log:
                child = self._forked(request, start, theirs.fileno(), log.fileno()) or self._started(
                    start, theirs.fileno(), log.fileno()
                )
        except BaseException:  # it goes on up; nobody else knows this end of the socket
            ours.close()
            raise
        disk = Disk(work / "tmp", self._keep_free_mib * 2**20)
        return HostProcess(child, ours, request, silence_s=self._silence_s, disk=disk)

    def _forked(self, request: HostRequest, start: Start, control: int, log: int) -> Child | None:
        """Return a fork of the warm process; None where the host has to be started."""
        # Processes of several devices start each other by their command line.
        several = isinstance(request, TrainRequest) and request.spec.num_gpu not in {0, 1}
        if self._warm is None or self._level != "bubblewrap" or several:
            return None
        try:
            return warm_process.fork(self._warm, start, control=control, log=log)
        except warm_process.NotWarmError as reason:
            _log.info("the %s's bundle host starts cold: no warm one, %s", request.kind, reason)
            return None

    def _started(self, start: Start, control: int, log: int) -> Child:
        """Start the host in a session of its own."""
        argv = [sys.executable, "-m", "tasks.compute", start.request, str(control)]
        argv += [str(start.memory_mib), str(start.processes)]
        if self._level == "bubblewrap":
            argv = wrap(argv, seen=start.binds, environment=start.environment, folder=Path(start.folder))
        else:
            argv.append(str(os.getpid()))  # dies with us; bubblewrap sees to that itself
        process = self._starter.submit(_spawn, argv, start, control, log).result()
        return StartedChild(process, keep=self._starter)


def _spawn(argv: Sequence[str], start: Start, control: int, log: int) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own, its output in the log."""
    return subprocess.Popen(
        argv,
        env=start.environment,
        cwd=start.folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(control,),
        start_new_session=True,
    )


def _environment(tmp: Path, threads: int | None) -> dict[str, str]:
    """Return the whole environment of a host: nothing is inherited."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(tmp),
        "TMPDIR": str(tmp),
        "OMP_NUM_THREADS": str(threads or len(os.sched_getaffinity(0))),
        # Threads that spin while they wait made a training step 10 to 30 times slower on busy cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(ROOT),
    }


def _view(request: HostRequest, readable: list[Path], writable: list[Path]) -> View:
    """Return what the host may see: what the caller says, and what the request names."""
    writable += [Path(folder).absolute() for folder in request.writes()]
    for folder in writable:
        folder.mkdir(parents=True, exist_ok=True)
    covered = [*readable, *writable]
    named = dict.fromkeys(Path(file).absolute() for file in request.reads())
    readable += [path for path in named if not any(path.is_relative_to(folder) for folder in covered)]
    missing = [path for path in readable if not path.exists()]
    if missing:
        raise InvalidRequestError(f"{len(missing)} file(s) that the bundle host shall read are not there")
    return View(readable, writable)
