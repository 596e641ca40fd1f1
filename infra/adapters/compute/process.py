"""Bundle hosts as child processes of this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from configs.errors import InvalidRequestError
from configs.wire.host import HostRequest, write_request
from infra.adapters.compute.base import CageLevel
from infra.adapters.compute.cage import View, probe, wrap
from infra.adapters.compute.conversation import HostProcess

ROOT = Path(__file__).resolve().parents[3]


class ProcessHosts:
    """Starts `python -m tasks.compute`, caged.

    Args:
        silence_s: A host that owes an answer and says nothing for so long is killed.
        memory_mib: Address space of a host; None = no limit (accelerators reserve more than they use).
        require_cage: Refuse to start a host where there is no bubblewrap.
        level: The cage to use; None = the strongest that works.
        visible_devices: The hosts' CUDA_VISIBLE_DEVICES; None = all.
    """

    def __init__(
        self,
        *,
        silence_s: float = 600.0,
        memory_mib: int | None = None,
        require_cage: bool = False,
        level: CageLevel | None = None,
        visible_devices: str | None = None,
    ) -> None:
        self._silence_s = silence_s
        self._memory_mib = memory_mib
        self._visible_devices = visible_devices
        self._level: CageLevel = level or probe()
        if require_cage and self._level != "bubblewrap":
            raise InvalidRequestError("A cage is required and bubblewrap does not work here; install it")
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
        writable: Sequence[Path] = (),
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
        view = _view(
            request,
            [bundle.absolute(), *(path.absolute() for path in readable)],
            [work, *(path.absolute() for path in writable)],
        )
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-m", "tasks.compute", str(work / "in" / "request.json")]
            argv += [str(theirs.fileno()), str(self._memory_mib or 0)]
            environment = _environment(work / "tmp", threads, self._visible_devices)
            if self._level == "bubblewrap":
                argv = wrap(argv, view=view, root=ROOT, environment=environment, folder=work / "tmp")
            else:
                argv.append(str(os.getpid()))  # dies with us; bubblewrap sees to that itself
            try:
                child = self._starter.submit(_spawn, argv, environment, work, theirs.fileno()).result()
            except BaseException:
                ours.close()
                raise
        return HostProcess(child, ours, request, silence_s=self._silence_s, keep=self._starter)


def _spawn(argv: Sequence[str], environment: dict[str, str], work: Path, control: int) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own, its output in `log.txt`."""
    with (work / "log.txt").open("ab") as log:
        return subprocess.Popen(
            argv,
            env=environment,
            cwd=work / "tmp",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(control,),
            start_new_session=True,
        )


def _environment(tmp: Path, threads: int | None, visible_devices: str | None) -> dict[str, str]:
    """Return the whole environment of a host: nothing is inherited."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(tmp),
        "TMPDIR": str(tmp),
        "OMP_NUM_THREADS": str(threads or len(os.sched_getaffinity(0))),
        # Threads that spin while they wait made a training step 10 to 30 times slower on busy cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(ROOT),
    }
    if visible_devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible_devices
    return environment


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
