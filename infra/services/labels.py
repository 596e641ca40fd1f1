"""Labels: saved through us, or notified after being saved elsewhere."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import or_, select

from configs.errors import NotFoundError
from configs.states import LabelState
from infra.adapters.catalog import audit, datasets
from infra.adapters.catalog.tables import Label
from infra.services import images
from infra.services.callers import Caller, Right, allow
from infra.services.freshness import look_again
from infra.services.images import ImageFile
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.labels.notice import Notice, check_notices
from tasks.labels.save import LabelParams, SavedLabel, save_label
from tasks.reconcile.loop import wake
from tasks.rounds.count import notify as count


def save(
    parts: Parts, caller: Caller, dataset_id: str, image_key: str, source: Path, params: LabelParams
) -> SavedLabel:
    """Save a label of an image; this is its notification too.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If the bytes cannot be read.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
    look_again(parts, dataset_id, [image_key])
    saved = save_label(parts, dataset_id, image_key, source, params, caller.subject)
    wake()
    return saved


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
    checked = check_notices(parts, dataset_id, list(notices))
    with parts.catalog.write() as session:
        changed = count(session, dataset_id, checked, caller.subject)
        audit.record(session, caller.org, caller.subject, "labels.notify", dataset_id, entries=len(notices))
    wake()
    return changed


def fetch(parts: Parts, caller: Caller, dataset_id: str, label: str, tag: str, *, client_id: str = "") -> ImageFile:
    """Return the newest label with this id, or of the image with this id, as a file; keeps the image's lease alive.

    Raises:
        NotFoundError: If there is none.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
        shown = (LabelState.ACTIVE, LabelState.SUPERSEDED, LabelState.QUARANTINED)
        query = select(Label).where(
            Label.dataset_id == dataset_id,
            or_(Label.id == label, Label.store_key == label),
            Label.tag == tag,
            Label.state.in_(shown),
        )
        row = session.scalar(query.order_by(Label.created_at.desc()).limit(1))
    if row is None:
        raise NotFoundError("label", label)
    images.touch(parts, caller, dataset_id, row.image_id, client_id)
    name = row.store_key.rsplit("/", 1)[-1]
    if row.blob is not None:
        return ImageFile(path=parts.blobs.path(row.blob), name=name)
    with tempfile.TemporaryDirectory(prefix="label-") as folder:
        fetched = store_of(parts, dataset_id).fetch_label(row.store_key, Path(folder))
        return ImageFile(path=parts.blobs.path(parts.blobs.put_file(fetched)), name=name)
