"""Answers one request, whichever way this process came to be: started for it, or forked from a warm one."""

import importlib
import traceback
from pathlib import Path
from typing import Protocol

from configs.wire.host import REQUESTS, Finished, HostRequest
from tasks.compute import confine, lean
from tasks.compute.control import Control
from tasks.compute.failures import failed

# Imported by name, when asked for: a check must not wait for Lightning.
HANDLERS = {
    "admit": "tasks.compute.loader.admit",
    "app": "tasks.compute.apps.write",
    "app_order": "tasks.compute.apps.order",
    "check": "tasks.compute.loader.check",
    "export": "tasks.compute.loader.export",
    "train": "tasks.compute.training.run",
    "evaluate": "tasks.compute.metrics.evaluate",
    "score": "tasks.compute.scoring.run",
    "order": "tasks.compute.scoring.order",
    "scribbles": "tasks.compute.scribbles.run",
    "serve": "tasks.compute.inference.serve",
}


class Handler(Protocol):
    """A module that answers one kind of request."""

    def run(self, request: HostRequest, control: Control) -> None:
        """Answer the request."""
        ...


def answer(path: Path, descriptor: int, *, memory_mib: int, processes: int) -> int:
    """Answer the request in the file *path* over the control socket; returns the exit status."""
    confine.limit(memory_mib, processes)
    control = Control(descriptor)
    request = REQUESTS.validate_json(path.read_bytes())
    try:
        lean.import_monai()
        importlib.import_module("tasks.compute.share").take(request.device)
        handler: Handler = lean.import_handler(HANDLERS[request.kind])
        handler.run(request, control)
    except Exception as error:  # noqa: BLE001 (the edge of this process: whatever bundle code raises is reported)
        traceback.print_exc()
        control.say(failed(error))
        return 1
    control.say(Finished())
    return 0
