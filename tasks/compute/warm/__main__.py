"""The warm bundle host: `python -m tasks.compute.warm SOCKET REST_S [BLANKS]`, in the environment of a bundle host.

It rests, a few megabytes, until somebody connects, be it only to say that hosts will be wanted; then it imports, and
whoever asked early waits for what is under way. When nobody has wanted anything for REST_S seconds, and no host is
left, it becomes a fresh process and rests again. Where this machine offers no cage to a forked process it waits idle,
and every host starts cold.
"""

import gc
import importlib
import logging
import os
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from configs.wire.listen import listen
from tasks.compute import confine, lean
from tasks.compute.answer import HANDLERS
from tasks.compute.warm import title
from tasks.compute.warm.child import cage_works
from tasks.compute.warm.server import Server

# A bundle names these in its configuration; MONAI itself imports them when first used.
_NAMED_BY_BUNDLES = ("ignite.engine", "ignite.handlers", "ignite.metrics", "monai.engines", "monai.handlers")
# They are read when a library is loaded: once for all that are forked. Threads are set in the fork; none may run here.
_FOR_IMPORTS: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}

_log = logging.getLogger("teachback.warm")


def main(address: Path, rest_s: float) -> None:
    """Serve until TERM or the parent's death."""
    environment = dict(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    confine.die_with(os.getppid())
    if reason := cage_works():
        _log.warning("no cage for forked hosts here, each starts cold: %s", reason)
        signal.pause()
        return
    with listen(address) as listener:
        _log.info("at rest until somebody will need a host")
        select.select([listener], [], [])
        by_libraries = import_everything()
        gc.collect()
        gc.freeze()  # what is shared stays shared: the collector would write to every page of it
        _log.info("the imports are done; hosts are forked from now on")
        Server(listener, by_libraries).run(rest_s)
        # What was imported cannot be given back. Who connects in the moment until it listens again starts cold.
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606 - becomes itself, no shell


def import_everything() -> dict[str, str]:
    """Import what any host imports.

    Returns:
        The environment variables that the libraries set for themselves.

    Raises:
        RuntimeError: If that opened an accelerator or started a thread: neither survives a fork.
    """
    os.environ.update(_FOR_IMPORTS)
    before = set(os.environ)
    lean.import_monai()
    for name in (*HANDLERS.values(), *_NAMED_BY_BUNDLES):
        lean.import_handler(name)
    torch = importlib.import_module("torch")
    if torch.cuda.is_initialized():
        raise RuntimeError("An import opened the accelerator: hosts cannot be forked from this process")
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number is asked
    if threads > 1:
        raise RuntimeError(f"The imports started {threads - 1} thread(s): hosts cannot be forked from this process")
    return {name: value for name, value in os.environ.items() if name not in before}


if __name__ == "__main__":
    _log.setLevel(logging.INFO)  # this one alone: what the libraries log is the bundle's business, in its own log
    _log.addHandler(logging.StreamHandler())
    title.remember()
    main(Path(sys.argv[1]), float(sys.argv[2]))
