"""`python -m infra.adapters.orchestration.cold`: Prefect's engine, its output in a file instead of the worker's pipe.

When a worker is killed its pipe breaks, and Prefect's next log line on the console would end the flow with it: a round
would lose what it has trained although nothing of it needs the worker.
"""

import os
import runpy
import sys
from pathlib import Path

from configs.settings import Settings

_LOG_BYTES = 20 * 2**20


def write_to(path: Path) -> None:
    """Let this process and its children print to the end of *path*."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def flows_log(home: Path) -> Path:
    """Return where the output of an installation's flow runs goes."""
    return home / "logs" / "flows.log"


if __name__ == "__main__":
    write_to(flows_log(Settings().home))
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
