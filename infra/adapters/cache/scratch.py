"""Temporary files of a process that may be killed: in a folder of its own, which the next process removes.

The system's own folder for them would keep a label, which is a patient's, until somebody tidies up; and it is often in
memory, where a volume is large.
"""

import atexit
import os
import shutil
import tempfile
import uuid
from pathlib import Path

from infra.adapters.cache.locks import try_lock


def use_scratch(folder: Path) -> Path:
    """Have `tempfile` of this process write into a folder of its own below *folder*, and remove those of dead ones.

    Call it once, at the process's edge, before anything is written. The lock ends with the process, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for lock in folder.glob("*.lock"):
        _remove_if_dead(lock)
    handle: int | None = None
    own = folder
    while handle is None:  # whoever starts now may take our new lock for a dead one's
        own = folder / uuid.uuid4().hex
        handle = try_lock(own.with_suffix(".lock"))
    own.mkdir(mode=0o700)
    tempfile.tempdir = str(own)
    atexit.register(_leave, own, handle)
    return own


def _remove_if_dead(lock: Path) -> None:
    handle = try_lock(lock)
    if handle is None:
        return
    try:
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _leave(own: Path, handle: int) -> None:
    shutil.rmtree(own, ignore_errors=True)
    own.with_suffix(".lock").unlink(missing_ok=True)
    os.close(handle)
