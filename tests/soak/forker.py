"""Starts API processes by forking one that has its imports done: a hundred starts cost what twenty would.

`python -m tests.soak.forker` reads one line of JSON per process, its environment and the file of its output, and
answers with its process id. Nothing runs here but this loop, so a fork is like a process that was started.
"""

import json
import os
import signal
import sys

from infra.doors.api import __main__ as api


def main() -> None:
    """Fork one API process for each line; end with the input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(asked["environment"], asked["log"])
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _become(environment: dict[str, str], log: str) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        api.main()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
