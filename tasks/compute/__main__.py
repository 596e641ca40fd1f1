"""A bundle host: `python -m tasks.compute REQUEST.json CONTROL_FD MEMORY_MIB [PARENT_PID]`."""

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Protocol

from configs.wire.host import REQUESTS, Finished, HostRequest
from tasks.compute import confine, lean
from tasks.compute.control import Control
from tasks.compute.failures import failed

# Imported by name, when asked for: a check must not wait for Lightning.
_HANDLERS = {
    "check": "tasks.compute.loader.check",
    "train": "tasks.compute.training.run",
    "evaluate": "tasks.compute.metrics.evaluate",
    "score": "tasks.compute.scoring.run",
    "serve": "tasks.compute.inference.serve",
}


class Handler(Protocol):
    """A module that answers one kind of request."""

    def run(self, request: HostRequest, control: Control) -> None:
        """Answer the request."""
        ...


def main(argv: list[str]) -> int:
    """Answer one request; returns the exit status."""
    path, descriptor, memory_mib, *parent = argv
    if parent:
        confine.die_with(int(parent[0]))
    confine.limit(int(memory_mib))
    control = Control(int(descriptor))
    request = REQUESTS.validate_json(Path(path).read_bytes())
    try:
        lean.import_monai()
        handler: Handler = importlib.import_module(_HANDLERS[request.kind])
        handler.run(request, control)
    except Exception as error:  # noqa: BLE001 (the edge of this process: whatever bundle code raises is reported)
        traceback.print_exc()
        control.say(failed(error))
        return 1
    control.say(Finished())
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a bundle may hang at a normal exit; everything worth keeping is on disk.
    os._exit(status)
