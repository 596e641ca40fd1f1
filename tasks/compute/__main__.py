"""A bundle host: `python -m tasks.compute REQUEST.json CONTROL_FD MEMORY_MIB PROCESSES [PARENT_PID]`."""

import os
import sys
from pathlib import Path

from tasks.compute import confine
from tasks.compute.answer import answer


def main(argv: list[str]) -> int:
    """Answer one request; returns the exit status."""
    path, descriptor, memory_mib, processes, *parent = argv
    if parent:
        confine.die_with(int(parent[0]))
    return answer(Path(path), int(descriptor), memory_mib=int(memory_mib), processes=int(processes))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a bundle may hang at a normal exit; everything worth keeping is on disk.
    os._exit(status)
