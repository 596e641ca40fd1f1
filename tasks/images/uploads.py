"""Images that clients send to be predicted: blobs, of no data set, that are gone when nobody asks for them any more."""

import shutil
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.specs.dataset import OnGap
from infra.adapters.artifacts.base import Artifacts
from infra.adapters.catalog.blobs import named
from infra.adapters.catalog.tables import Upload
from infra.adapters.catalog.tables.base import now
from infra.adapters.images.base import FetchedImage, StoredImage
from infra.wiring import Parts
from tasks.images.addressed import DICOM

MOST = 100
"""Of an organisation; one more takes the place of the one that was used longest ago."""
_PREFIX = "upload:"
_HASH_CHARS = 64
# A blob of this age is on its way into no row: a row follows its blob within the same request.
_SETTLED_S = 60.0


def address_of(upload: Upload, ending: str) -> str:
    """Return what a slot is told of an upload: its content, and by its file's ending the format."""
    return f"{_PREFIX}{upload.blob}{ending}"


def is_upload(address: str) -> bool:
    """Say whether an address is that of an upload: no request can name one, only who made it from a row."""
    return address.startswith(_PREFIX)


class UploadedImage:
    """An `ImageSource` of one uploaded image.

    Args:
        address: The upload's.
        blobs: Where it is kept.
    """

    on_gap: OnGap = "refuse"

    def __init__(self, address: str, blobs: Artifacts) -> None:
        said = address.removeprefix(_PREFIX)
        self._blob, self._ending, self._blobs = said[:_HASH_CHARS], said[_HASH_CHARS:], blobs

    @property
    def identity(self) -> str:
        """Hash of the content."""
        return self._blob

    def image(self, key: str) -> StoredImage:
        """Return the image: it never changes."""
        return StoredImage(key=key, patient=None, study=None, name=key, meta={}, fingerprint=self._blob)

    def fetch(self, key: str, into: Path) -> FetchedImage:  # noqa: ARG002 - there is one
        """Copy the image's file to `into`.

        Raises:
            NotFoundError: If it is gone.
        """
        target = into / "image" / f"image{self._ending}"
        target.parent.mkdir(parents=True)
        shutil.copyfile(self._blobs.path(self._blob), target)
        return FetchedImage(paths=[target.parent if self._ending == DICOM else target], sha256=self._blob, meta={})


def make_room(session: Session, org: str) -> None:
    """Let those go that were used longest ago, so that one more is not too many."""
    newest = select(Upload.id).where(Upload.org == org).order_by(Upload.used_at.desc()).limit(MOST - 1)
    session.execute(delete(Upload).where(Upload.org == org, Upload.id.not_in(newest)))


def uploads_removed(parts: Parts) -> int:
    """Remove uploads that nobody has asked for in their time, and their contents; return how many."""
    with parts.catalog.write() as session:
        over = delete(Upload).where(Upload.used_at + Upload.expiry < now()).returning(Upload.blob)
        blobs = session.scalars(over).all()
    for blob in set(blobs):
        drop(parts, blob)
    return len(blobs)


def drop(parts: Parts, blob: str) -> None:
    """Remove the content of an upload that is gone, unless something else is the same."""
    with parts.catalog.read() as session:
        kept = blob in named(session, [blob])
    if not kept:
        parts.blobs.delete(blob, older_than_s=_SETTLED_S)
