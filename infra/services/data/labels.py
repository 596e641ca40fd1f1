"""Labels: saved through us, or notified after being saved elsewhere."""

import math
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from infra.adapters.catalog import audit, datasets
from infra.adapters.catalog.tables import Label
from infra.services.callers import Caller, Right, allow
from infra.services.data import images, label_history, label_info
from infra.services.data.freshness import look_again
from infra.services.data.images import ImageFile
from infra.services.data.label_history import resolve
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.labels.forms.raw import of_raw
from tasks.labels.forms.read import HEAD_BYTES, ending_in, ending_of
from tasks.labels.incoming.notice import Notice, check_notices
from tasks.labels.incoming.save import LabelParams, SavedLabel, grid_of, save_label
from tasks.reconcile.loop import wake
from tasks.rounds.count import notify as count


def save(
    parts: Parts,
    caller: Caller,
    dataset_id: str,
    image_key: str,
    source: BinaryIO,
    params: LabelParams,
    *,
    client_id: str = "",
) -> SavedLabel:
    """Save a label of an image; this is its notification too. `client_id` tells several people with one key apart.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If the bytes cannot be read.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
    look_again(parts, dataset_id, [image_key])
    said = params.model_copy(update={"author_name": client_id or caller.name})
    parts.expect_hosts()
    saved = save_label(parts, dataset_id, image_key, source, said, images.holder_of(caller, client_id))
    wake()
    return saved


def of_voxels(parts: Parts, caller: Caller, dataset_id: str, image_key: str, source: BinaryIO) -> BinaryIO:
    """Return a label that came as its voxels alone, on its image's grid, as a file; one that has a header as it came.

    Raises:
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If there are more or fewer voxels than the image has.
    """
    head = source.read(HEAD_BYTES)
    source.seek(0)
    if ending_of(head) is not None:
        return source  # any file may be called so
    image = images.get(parts, caller, dataset_id, image_key)
    geometry, lost, _ = grid_of(parts, dataset_id, image)
    if geometry is None:
        raise InvalidRequestError(lost or "The image's store does not answer now: send a file that says its grid")
    return BytesIO(of_raw(source.read(math.prod(geometry.shape) + 1), geometry))


def notify(parts: Parts, caller: Caller, dataset_id: str, notices: Sequence[Notice]) -> int:
    """Count labels that were added, updated or removed in the image store; return how many changed anything.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set.
        InvalidRequestError: If an entry is refused: it is named, and nothing of the call is counted.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
    look_again(parts, dataset_id, {notice.image for notice in notices})
    # Read and compared before the unit, which does SQL and nothing else.
    checked = check_notices(parts, dataset_id, list(notices))

    def counted(session: Session) -> int:
        """Count all of them or none."""
        changed = count(session, dataset_id, checked, caller.subject)
        audit.record(session, caller.org, caller.subject, "labels.notify", dataset_id, entries=len(notices))
        return changed

    parts.expect_hosts()
    changed = parts.catalog.unit(counted)
    wake()
    return changed


def fetch(
    parts: Parts, caller: Caller, dataset_id: str, label: str, tag: str | None = None, *, client_id: str = ""
) -> ImageFile:
    """Return the label of this id, or what a tag of an image of this id points to, as a file; keeps the lease alive.

    Raises:
        NotFoundError: If there is none, or it was deleted.
    """
    row = label_info.find(parts, caller, dataset_id, label, tag)
    images.touch(parts, caller, dataset_id, row.image_id, client_id)
    return file_of(parts, row)


def file_of(parts: Parts, row: Label) -> ImageFile:
    """Return a label's content as it was saved.

    Raises:
        StoreError: If only its store has it, and cannot be read.
    """
    name = row.store_key.rsplit("/", 1)[-1]
    if row.blob is not None:
        path = parts.blobs.path(row.blob)
        ending = ending_in(path) or ""
        return ImageFile(path=path, name=name if name.endswith(ending) else f"{name}{ending}")
    with tempfile.TemporaryDirectory(prefix="label-") as folder:
        # Kept as a blob: the answer is sent when this folder is gone.
        fetched = store_of(parts, row.dataset_id).fetch_label(row.store_key, Path(folder))
        return ImageFile(path=parts.blobs.path(parts.blobs.put_file(fetched)), name=name)


def remove(parts: Parts, caller: Caller, dataset_id: str, label: str, tag: str | None = None) -> None:
    """Hide the label of this id, or what a tag of an image of this id points to; nothing if there is none.

    Raises:
        ForbiddenError: If it is somebody else's and the caller is below engineer.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
        row = resolve(session, dataset_id, label, tag)
    if row is not None and row.deleted_at is None:
        label_history.remove(parts, caller, row.id)
