"""Checkpoints of the attempts at a job.

<attempt folder>/checkpoints/<epoch>.ckpt   the bytes
<attempt folder>/checkpoints/<epoch>.json   {sha256, epoch, snapshot}, written last: without it there is no checkpoint
"""

import hashlib
import shutil
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from configs.durable import sync_file, written
from configs.errors import InvalidRequestError

# The newest may have been cut short by the kill that makes it needed: the one before it is whole.
KEPT = 2


class CheckpointNote(BaseModel):
    """What stands beside a checkpoint's bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    epoch: int
    snapshot: str


class StoredCheckpoint(BaseModel):
    """A whole checkpoint of some attempt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    epoch: int
    attempt: int


def save_checkpoint(attempt_folder: Path, source: Path, *, epoch: int, snapshot: str) -> Path:
    """Take over the file `source` as this attempt's checkpoint of `epoch`; the newest two are kept.

    Args:
        attempt_folder: From `Artifacts.attempt_folder`.
        source: The finished file; it is moved.
        epoch: Epochs trained so far.
        snapshot: sha256 of the snapshot that it was trained on.

    Returns:
        The checkpoint's file, durable.

    Raises:
        InvalidRequestError: If `source` is no regular file; a bundle host may have made a link.
    """
    folder = attempt_folder / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    target, note_path = folder / f"{epoch}.ckpt", folder / f"{epoch}.json"
    # First of all, so that note and bytes never belong to two different checkpoints of one epoch.
    note_path.unlink(missing_ok=True)
    partial = folder / f"{epoch}.ckpt.tmp"
    shutil.move(source, partial)
    if not stat.S_ISREG(partial.lstat().st_mode):
        partial.unlink()
        raise InvalidRequestError(f"The checkpoint of epoch {epoch} is no regular file: the bundle has to write one")
    sync_file(partial)
    note = CheckpointNote(sha256=_hash(partial), epoch=epoch, snapshot=snapshot)
    partial.replace(target)
    with written(note_path) as file:
        file.write(note.model_dump_json().encode())
    _drop_old(folder)
    return target


def newest_checkpoint(job_folder: Path, *, up_to: int, snapshot: str) -> StoredCheckpoint | None:
    """Return the checkpoint with the most epochs of attempts 1 … `up_to` on this snapshot, its hash checked, if any.

    Args:
        job_folder: The folder that holds the attempts' folders.
        up_to: Number of the attempt that wants to go on.
        snapshot: sha256 of the snapshot that it trains on.
    """
    found = [
        (note.epoch, attempt, path.with_suffix(".ckpt"), note.sha256)
        for attempt in range(1, up_to + 1)
        for path in (job_folder / str(attempt) / "checkpoints").glob("*.json")
        if (note := _read_note(path)) is not None and note.snapshot == snapshot
    ]
    for epoch, attempt, path, sha256 in sorted(found, reverse=True):
        if path.is_file() and _hash(path) == sha256:
            return StoredCheckpoint(path=path, epoch=epoch, attempt=attempt)
    return None


def _read_note(path: Path) -> CheckpointNote | None:
    try:
        return CheckpointNote.model_validate_json(path.read_bytes())
    except (ValidationError, FileNotFoundError):
        return None


def _drop_old(folder: Path) -> None:
    epochs = sorted((int(path.stem) for path in folder.glob("*.json")), reverse=True)
    for epoch in epochs[KEPT:]:
        (folder / f"{epoch}.json").unlink(missing_ok=True)
        (folder / f"{epoch}.ckpt").unlink(missing_ok=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
