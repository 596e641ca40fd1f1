"""Images that clients send to be predicted: the MONAI Label dialect's sessions."""

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from shutil import copyfileobj
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog import audit
from infra.adapters.catalog.tables import Upload
from infra.adapters.catalog.tables.base import new_id, now
from infra.adapters.images.base import ZIPPED
from infra.services.callers import Caller, Right, allow
from infra.services.data.images import ImageFile, basename
from infra.wiring import Parts
from tasks.images.addressed import DICOM, KNOWN_ENDINGS, ending_of
from tasks.images.uploads import address_of, drop, make_room

# As the original's sessions: clients count on it.
LONGEST_S = 3600.0
ONCE_S = 300.0
"""For what is uploaded to be predicted once."""
MOST_FILES = 10_000


class NoUploadError(NotFoundError):
    """There is no such upload, or its time is over."""

    def __str__(self) -> str:
        return f"Session ({self.name}) Not Found"


@dataclass(frozen=True)
class Sent:
    """A file as a client sends it; of its name only the end of the path counts."""

    name: str
    content: BinaryIO


def create(parts: Parts, caller: Caller, files: Sequence[Sent], expiry_s: float = 0.0) -> Upload:
    """Keep an image: one file, a zip of a DICOM series, or the files of one.

    Args:
        parts: The adapters.
        caller: Who sends it; all of the organisation may ask for it.
        files: The files.
        expiry_s: How long it is kept after it was used, an hour at most; 0 = an hour.

    Raises:
        InvalidRequestError: If it is in no format that is read here.
    """
    allow(caller, Right.ANNOTATE)
    name = name_of(files)
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        blob = parts.blobs.put_file(written(files, Path(folder) / "image"))

    def made(session: Session) -> Upload:
        """Make its row, and room for it."""
        make_room(session, caller.org)
        at = session.scalar(select(now()))
        expiry = min(expiry_s, LONGEST_S) if expiry_s > 0 else LONGEST_S
        row = Upload(id=new_id(), org=caller.org, name=name, blob=blob, expiry=expiry, created_at=at, used_at=at)
        session.add(row)
        audit.record(session, caller.org, caller.subject, "upload.create", row.id)
        return row

    return parts.catalog.unit(made)


def find(parts: Parts, caller: Caller, upload_id: str, *, use: bool = False) -> Upload:
    """Return an upload; its time begins anew where it is used.

    Raises:
        NotFoundError: If there is none, or its time is over.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        living = (Upload.id == upload_id, Upload.org == caller.org, Upload.used_at + Upload.expiry >= now())
        row = session.scalar(select(Upload).where(*living))
    if row is None:
        raise NoUploadError("session", upload_id)
    if use:
        with parts.catalog.write() as session:
            held = session.get(Upload, upload_id)
            if held is not None:
                held.used_at = session.scalar(select(now())) or row.used_at
    return row


def remove(parts: Parts, caller: Caller, upload_id: str) -> Upload:
    """Let an upload go.

    Raises:
        NotFoundError: If there is none, or its time is over.
    """
    row = find(parts, caller, upload_id)
    with parts.catalog.write() as session:
        held = session.get(Upload, upload_id)
        if held is not None:
            session.delete(held)
    drop(parts, row.blob)
    return row


def file_of(parts: Parts, row: Upload) -> ImageFile:
    """Return an upload's content as it came."""
    return ImageFile(path=parts.blobs.path(row.blob), name=row.name)


def address(row: Upload) -> str:
    """Return what a slot is told of an upload."""
    return address_of(row, ending_of(row.name))


def name_of(files: Sequence[Sent]) -> str:
    """Return what the upload is called; of the files of a series `series.zip`.

    Raises:
        InvalidRequestError: If the names say no format.
    """
    if not files or len(files) > MOST_FILES:
        raise InvalidRequestError(f"An image is 1 to {MOST_FILES} files, not {len(files)}")
    # Clients send whole paths of their own machines, of Windows, too.
    names = [basename(PurePosixPath(PureWindowsPath(sent.name).as_posix()).name) for sent in files]
    endings = {ending_of(name) for name in names}
    if len(files) > 1 and endings == {DICOM}:
        return f"series{ZIPPED}"
    if len(files) > 1 or "" in endings:
        known = ", ".join(KNOWN_ENDINGS)
        raise InvalidRequestError(
            f"An image is one file whose name ends in one of {known}, or the .dcm files of a series"
        )
    return names[0]


def written(files: Sequence[Sent], target: Path) -> Path:
    """Write what was sent as one file, several files as a zip; return the file."""
    with target.open("wb") as file:
        if len(files) == 1:
            copyfileobj(files[0].content, file)
        else:
            _zip(files, file)
    return target


def _zip(files: Sequence[Sent], target: BinaryIO) -> None:
    with zipfile.ZipFile(target, "w") as packed:
        for number, sent in enumerate(files):
            with packed.open(f"{number}{DICOM}", "w") as entry:
                copyfileobj(sent.content, entry)
