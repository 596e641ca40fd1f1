"""Asking a bundle host one thing, in a folder that is gone afterwards."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore

from configs.errors import BusyError
from configs.wire.host import Failed, HostMessage, HostRequest
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.devices.claims import Need
from tasks.devices.hold import computing


@contextmanager
def work_folder(parts: Parts, name: str) -> Iterator[Path]:
    """Give an empty folder below the home's `work` while the block runs."""
    work = parts.settings.home / "work" / f"{name}-{new_id()}"
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def place(places: Semaphore, wait_s: float) -> Iterator[None]:
    """Hold one of a few places while the block runs: of what takes much memory only so many run at a time.

    Raises:
        BusyError: If none is free within *wait_s*.
    """
    if not places.acquire(timeout=wait_s):
        raise BusyError("Others have this computed just now: ask again in a moment")
    try:
        yield
    finally:
        places.release()


def answers(parts: Parts, request: HostRequest, need: Need, *, work: Path, bundle: Path) -> Iterator[HostMessage]:
    """Yield what a bundle host says to a request, run in `host` below a folder that `work_folder` gave.

    Raises:
        HostError: If it fails; what fails of one case is yielded.
    """
    with computing(parts, request, need, holder=work.name, work=work / "host", bundle=bundle) as host:
        for message in host.messages():
            if isinstance(message, Failed) and message.id is None:
                raise error_of(message)
            yield message
