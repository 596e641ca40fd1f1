"""The process that flow runs are forked from: `python -m infra.adapters.orchestration.warm SOCKET`.

It has the imports of every flow done and nothing opened: no catalog, no connection, no thread. A flow run is a fork in
a session of its own, like the process that a worker would start. When the run ends, or whoever asked for it is gone,
all of its process group is killed; when this process dies, the kernel kills its runs, which are then attempted again.
"""

import ctypes
import gc
import importlib
import json
import logging
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.context import SettingsContext, get_settings_context
from prefect.settings import Settings as PrefectSettings
from pydantic import BaseModel, ValidationError

from configs.settings import Settings
from configs.wire.listen import is_ours, listen
from infra.adapters.orchestration.cold import flows_log, write_to
from infra.adapters.orchestration.engine import LENGTH

_FLOWS = "flows"
# What Prefect's engine, and our adapters, import when they are first used.
_LATER = (
    "prefect._internal.metrics",
    "prefect.deployments.steps.core",
    "prefect.deployments.steps.pull",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "infra.adapters.orchestration.prefect",
)
# Whoever asks sends at once; one that connects and says nothing must not keep others waiting.
_PATIENCE_S = 2.0
# The length comes first, from whoever connected: nothing is allocated before it is checked.
_LONGEST = 2**20
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

log = logging.getLogger("teachback.warm-flows")


class Asked(BaseModel):
    """What a worker started: the environment and folder of a flow run."""

    environment: dict[str, str]
    folder: str


@dataclass(frozen=True)
class _Run:
    """A forked run: its process, a descriptor of it, and who asked."""

    pid: int
    watched: int
    asker: socket.socket


class Server:
    """Forks a run for whoever connects to *listener*."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._runs: dict[int, _Run] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)

    def forked(self) -> Asked:
        """Serve for ever; returns in each forked run, with what it is to run."""
        while True:
            # One at a time, since handling one may close what another is about; what waits is found again.
            key, _ = self._selector.select()[0]
            if key.data is None:
                asked = self._accept()
                if asked is not None:
                    return asked
            elif key.fd == key.data.watched:
                self._ended(key.data)
            else:
                self._selector.unregister(key.data.asker)
                os.kill(key.data.pid, signal.SIGKILL)  # not yet waited for, so its number is its own

    def _accept(self) -> Asked | None:
        """Fork what is asked for; returns it in the fork, None here."""
        asker, _ = self._listener.accept()
        asker.settimeout(_PATIENCE_S)
        try:
            asked = _read(asker) if is_ours(asker) else None
        except (OSError, EOFError, ValidationError) as error:
            log.warning("a request could not be read: %s", type(error).__name__)
            asked = None
        if asked is None:
            asker.close()
            return None
        asker.settimeout(None)
        # Until the fork has forgotten our handler, TERM waits: it would end as if all were well.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if not pid:
            self._forget(asker)
            return asked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        run = _Run(pid, os.pidfd_open(pid), asker)
        self._runs[pid] = run
        self._selector.register(run.watched, selectors.EVENT_READ, run)
        self._selector.register(asker, selectors.EVENT_READ, run)
        _tell(asker, {"pid": pid})
        return None

    def _ended(self, run: _Run) -> None:
        self._selector.unregister(run.watched)
        os.close(run.watched)
        _, status = os.waitpid(run.pid, 0)
        _kill_group(run.pid)
        with suppress(KeyError):
            self._selector.unregister(run.asker)
        _tell(run.asker, {"status": os.waitstatus_to_exitcode(status)})
        run.asker.close()
        del self._runs[run.pid]

    def _forget(self, asker: socket.socket) -> None:
        """Close, in the fork, what is this process's business: other runs' askers are among it."""
        self._selector.close()
        asker.close()
        for run in self._runs.values():
            os.close(run.watched)
            run.asker.close()


def main(address: Path) -> None:
    """Serve until TERM; returns in each forked run when that has ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    warm = os.getpid()
    with listen(address) as listener:
        import_everything()
        gc.collect()
        gc.freeze()  # what is shared stays shared: the collector would write to every page of it
        log.info("the imports are done; flow runs are forked from now on")
        asked = Server(listener).forked()
    _become(asked, warm)
    with SettingsContext(profile=get_settings_context().profile, settings=PrefectSettings()):
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def import_everything() -> None:
    """Import what any flow run imports.

    Raises:
        RuntimeError: If that started a thread: it would not survive a fork.
    """
    # numpy's OpenBLAS starts its threads as it is loaded, one a core; what it multiplies here needs none of them.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    flows = importlib.import_module(_FLOWS)
    names = [f"{_FLOWS}.{module.name}" for module in pkgutil.iter_modules(flows.__path__)]
    for name in (*_LATER, *names):
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number is asked
    if threads > 1:
        raise RuntimeError(f"The imports started {threads - 1} thread(s): flow runs cannot be forked from this process")


def _become(asked: Asked, warm: int) -> None:
    """Take on what a process that a worker starts would have."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warm:  # it died before the line above, and then no signal comes
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.environ.clear()
    os.environ.update(asked.environment)
    os.chdir(asked.folder)
    write_to(flows_log(Settings().home))
    random.seed()
    sys.argv = ["prefect.engine"]
    sys.modules.pop("prefect.engine", None)  # it is run, which Python warns about where it is imported already


def _read(asker: socket.socket) -> Asked:
    with asker.makefile("rb") as stream:
        (length,) = LENGTH.unpack(_whole(stream.read(LENGTH.size), LENGTH.size))
        if length > _LONGEST:
            raise EOFError
        return Asked.model_validate_json(_whole(stream.read(length), length))


def _whole(found: bytes, length: int) -> bytes:
    if len(found) < length:
        raise EOFError
    return found


def _tell(asker: socket.socket, said: dict[str, Any]) -> None:
    """Tell the asker, if it is still there."""
    with suppress(OSError):
        asker.sendall(json.dumps(said).encode() + b"\n")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    log.setLevel(logging.INFO)
    log.propagate = False  # Prefect has taken the root logger
    log.addHandler(logging.StreamHandler())
    main(Path(sys.argv[1]))
