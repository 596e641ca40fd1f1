"""A notification is checked before it counts: the label is fetched, read and compared with its image."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog import images, labels
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.adapters.images.base import ImageStore
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.labels.forms.structured import kind_in
from tasks.labels.forms.write import series_uid
from tasks.labels.incoming.names import names_on
from tasks.labels.incoming.save import LabelParams, check_saved, fetched, spoken
from tasks.rounds.count import CheckedNotice, NoticeKind

# Each may fetch a label from its store; servers answer this many as fast as one.
AT_ONCE = 4
MOST = 10_000


class Notice(BaseModel):
    """One entry of a notification, in the caller's words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: NoticeKind
    image: str = Field(min_length=1, max_length=1024)
    label: str = Field(min_length=1, max_length=1024)


def check_notices(parts: Parts, dataset_id: str, notices: list[Notice]) -> list[CheckedNotice]:
    """Read every label that was notified.

    Raises:
        InvalidRequestError: If an entry is refused; the message names each refused entry with its reason.
        StoreError: If the store cannot be read.
    """
    if len(notices) > MOST:
        raise InvalidRequestError(f"{len(notices)} entries in one call; send at most {MOST}.")
    store = store_of(parts, dataset_id)
    refused: list[str] = []
    checked: list[CheckedNotice] = []

    def one(notice: Notice) -> CheckedNotice | str:
        """Return the checked notice, or what is wrong with it, so that all faults are told at once."""
        try:
            return _check(parts, store, dataset_id, notice)
        except (InvalidRequestError, NotFoundError) as error:
            return f"{notice.kind} image {notice.image!r} label {notice.label!r}: {error}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for answer in pool.map(one, notices):
            if isinstance(answer, str):
                refused.append(answer)
            else:
                checked.append(answer)
    if refused:
        raise InvalidRequestError(
            f"Nothing was counted, since {len(refused)} entries are refused: " + "; ".join(refused)
        )
    return checked


def _check(parts: Parts, store: ImageStore, dataset_id: str, notice: Notice) -> CheckedNotice:
    with parts.catalog.read() as session:
        image = images.by_key(session, dataset_id, notice.image)
        known = _known(session, image, notice.label)
        first = session.get_one(Dataset, dataset_id).caught_up_at
        # A listing may meet what somebody stored before they come to say so.
        found_later = known is not None and known.imported and first is not None and known.created_at > first
    if notice.kind == "removed":
        if known is None:
            raise NotFoundError("label of this image", notice.label)
        return CheckedNotice(kind="removed", image_id=image.id, store_key=known.store_key, label_id=known.id)
    if known is not None and (known.place != "store" or known.upload_pending):
        return _again(notice, known)
    stored = store.label(notice.image, known.store_key if known else notice.label)
    if known is not None and known.fingerprint == stored.fingerprint:
        return _claimed(notice, known) if found_later else _again(notice, known)
    if stored.automatic:
        raise InvalidRequestError("all of it was made by a program: correct or confirm it first")
    with tempfile.TemporaryDirectory(prefix="notice-") as folder:
        path = fetched(store, stored.key, Path(folder))
        kind = kind_in(path)
        with parts.catalog.read() as session:
            here = names_on(session, dataset_id, kind=kind)
        found = check_saved(path, image_of(parts, store, image).geometry(), here, LabelParams())
        if found.quarantine is not None:
            raise InvalidRequestError(found.quarantine)
        blob = parts.blobs.put_file(path)
    return CheckedNotice(
        kind=notice.kind,
        image_id=image.id,
        store_key=stored.key,
        fingerprint=stored.fingerprint,
        blob=blob,
        label_kind=kind,
        place="store",
        names={str(value): name for value, name in found.names.items()},
        annotated=spoken(kind, found, None),
        warnings=found.warnings,
    )


def _known(session: Session, image: Image, name: str) -> Label | None:
    """Return the image's label of this id; one of ours is known by what its id is in the store, even before we note it.

    A process that wrote a label to the store may have died before its row said so, and a PACS tells of a SEG faster
    than its writer comes to that.
    """
    label = labels.by_store_key(session, image.id, name) or labels.named(session, image.dataset_id, name)
    if label is not None:
        return label if label.image_id == image.id else None
    stem = name.rsplit("/", 1)[-1].split(".", 1)[0]
    unwritten = or_(Label.place != "store", Label.upload_pending)
    rows = session.scalars(select(Label).where(Label.image_id == image.id, unwritten))
    return next((row for row in rows if row.id == stem or series_uid(row.id) == name), None)


def _claimed(notice: Notice, known: Label) -> CheckedNotice:
    """Return a label that was found at the source as its maker's."""
    return _again(notice, known).model_copy(update={"imported": False, "claims": True, "person": ""})


def _again(notice: Notice, known: Label) -> CheckedNotice:
    """Return the same four that the label is known by: counting sees that it is here already."""
    return CheckedNotice(
        kind=notice.kind,
        image_id=known.image_id,
        store_key=known.store_key,
        fingerprint=known.fingerprint,
        label_id=known.id,
        label_kind=known.kind,
        blob=known.blob,
        tag=known.tag,
        imported=known.imported,
        unedited=known.unedited,
        annotated=known.annotated,
        names={str(value): str(name) for value, name in known.names.items()},
        person=known.author,
        author_name=known.author_name,
        tool=known.tool,
        base_version=known.base_version,
        params=dict(known.params),
        warnings=[str(warning) for warning in known.warnings],
        place=known.place,
    )
