"""Labels found at the source are taken in once: they train from the first round and never count towards one.

Where the data set says `watch`, what was written to its store after it was first listed is somebody's work of now: it
counts. When it was first seen here says nothing: an old label may have been left out until its image came, or at first.
What is gone from the source is taken out, and comes in again when it is there again; what a person took out does not.
"""

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import and_, delete, exists, select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, DamagedImageError, InvalidRequestError, NotFoundError, UnfinishedError
from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import images, labels
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Dataset, Image, Label, LabelEvent, Outbox, SeenLabel
from infra.adapters.catalog.upsert import insert
from infra.adapters.images.base import ImageStore, StoredLabel
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.labels.forms.structured import kind_in
from tasks.labels.incoming.names import Names
from tasks.labels.incoming.save import LabelParams, check_saved, fetched
from tasks.rounds.count import CheckedNotice, notify

ACTOR = "import"
_STANDS = (LabelState.ACTIVE, LabelState.SENT_BACK)
_ANY_CLOCK_S = 14 * 3600.0  # a SEG's ContentTime is the local time of who made it, wherever that is


def import_labels(parts: Parts, dataset_id: str) -> int:
    """Take in all labels that the data set's store holds and we do not know; return how many came in.

    Raises: as `taking_in`.
    """
    return sum(taking_in(parts, dataset_id))


def taking_in(parts: Parts, dataset_id: str, store: ImageStore | None = None) -> Iterator[int]:
    """Take in the labels that the data set's store holds and we do not know, one at a time; yield how many came in.

    A label that cannot be read or does not fit its image is left where it is, and counted by why. Each is looked at
    once, until its content changes: what a pass costs does not grow with what earlier ones saw. Labels of the store
    that it does not hold any more are taken out.

    Raises:
        StoreError: If the store cannot be read.
    """
    with parts.catalog.read() as session:
        row = session.get_one(Dataset, dataset_id)
        spec = DatasetSpec.model_validate(row.spec)
        counted_from = row.caught_up_at if spec.watch else None
    if counted_from is not None and spec.kind == "dicomweb":
        counted_from -= _ANY_CLOCK_S
    store = store or store_of(parts, dataset_id)
    _take_out_gone(parts, store, dataset_id)
    if spec.import_labels == "none":
        return
    with parts.catalog.read() as session:
        seen = set(session.scalars(select(SeenLabel.mark).where(SeenLabel.dataset_id == dataset_id)))
    for stored in store.labels(seen):
        try:
            of_no_use = stored.automatic or stored.ours or not _wanted(spec.import_labels, stored)
            found = "" if of_no_use else _checked(parts, store, dataset_id, stored, counted_from)
        except (NotFoundError, ConflictError, UnfinishedError):
            continue  # its image may yet come, or is being copied in, as the label may be
        yield parts.catalog.unit(partial(_note_seen, dataset_id, stored.mark, found))


def _note_seen(dataset_id: str, mark: str, found: CheckedNotice | str, session: Session) -> int:
    left_out = found if isinstance(found, str) else ""
    # First what holds the data set's row: of two passes at once, the second waits there.
    came = 0 if isinstance(found, str) else notify(session, dataset_id, [found], ACTOR)
    statement = insert(session, SeenLabel).values(dataset_id=dataset_id, mark=mark, left_out=left_out)
    key = [SeenLabel.dataset_id, SeenLabel.mark]
    session.execute(statement.on_conflict_do_update(index_elements=key, set_={"left_out": left_out}))
    return came


def look_anew(session: Session, dataset_id: str) -> None:
    """Have the next pass look at every label again: what is wanted has changed, or what was there."""
    session.execute(delete(SeenLabel).where(SeenLabel.dataset_id == dataset_id))


def since_of(import_labels: str) -> date | None:
    """Return the day of `since YYYY-MM-DD`; None for `all` and `none`.

    Raises:
        InvalidRequestError: If there is no such day.
    """
    if import_labels in {"all", "none"}:
        return None
    try:
        return date.fromisoformat(import_labels.removeprefix("since "))
    except ValueError:
        raise InvalidRequestError(f"{import_labels!r} names no day: give since YYYY-MM-DD") from None


def _wanted(said: str, stored: StoredLabel) -> bool:
    """Say whether a label of the source is to come in; one of unknown age is not newer than any day."""
    since = since_of(said)
    if since is None:
        return said == "all"
    return stored.changed is not None and stored.changed >= datetime(since.year, since.month, since.day, tzinfo=UTC)


def _checked(
    parts: Parts, store: ImageStore, dataset_id: str, stored: StoredLabel, counted_from: float | None
) -> CheckedNotice | str:
    """Return what is to be taken in, or why it is left out; empty = it is known.

    Raises:
        NotFoundError: If its image is not there.
        ConflictError: If its image is another than was listed.
        UnfinishedError: If it or its image is still being written.
        StoreError: If the store cannot be read.
    """
    with parts.catalog.read() as session:
        image = images.by_key(session, dataset_id, stored.image)
        known = labels.find(session, dataset_id, image.id, stored.key, stored.fingerprint)
        if known is not None and not _was_gone(session, known):
            return ""
    try:
        with tempfile.TemporaryDirectory(prefix="import-") as folder:
            path = fetched(store, stored.key, Path(folder))
            checked = check_saved(path, image_of(parts, store, image).geometry(), Names(), LabelParams())
            if checked.quarantine is not None:
                return "does not fit its image"
            blob, kind = parts.blobs.put_file(path), kind_in(path)
    except DamagedImageError:
        return "it or its image cannot be read"
    except InvalidRequestError:
        return "neither mask, class nor boxes"
    imported = known.imported if known is not None else not _is_new(stored, counted_from)
    author = known.author if known is not None else stored.author
    return CheckedNotice(
        kind="added",
        image_id=image.id,
        store_key=stored.key,
        fingerprint=stored.fingerprint,
        label_kind=kind,
        blob=blob,
        names={str(value): name for value, name in checked.names.items()},
        place="store",
        tag=stored.tag,
        imported=imported,
        person="" if imported else author,
        author_name=stored.author,
    )


def _is_new(stored: StoredLabel, counted_from: float | None) -> bool:
    """Say whether a label was written after that time (seconds since 1970); one of unknown age was not."""
    return counted_from is not None and stored.changed is not None and stored.changed.timestamp() > counted_from


def _was_gone(session: Session, known: Label) -> bool:
    """Say whether a label was taken out because it had gone from the source: only then its return means something."""
    if known.state != LabelState.REMOVED or known.deleted_at is not None:
        return False
    last = select(LabelEvent.actor).where(LabelEvent.label_id == known.id, LabelEvent.kind == "removed")
    return session.scalar(last.order_by(LabelEvent.seq.desc()).limit(1)) == ACTOR


def _take_out_gone(parts: Parts, store: ImageStore, dataset_id: str) -> None:
    """Take out the labels whose file or series is gone; each is looked for, since a listing may leave some out."""
    # A power cut may have taken it from the folder before it was made to stay: then it is written there again.
    mine = and_(Outbox.kind == OutboxKind.STORE_LABEL, Outbox.ref == Label.id, Outbox.done_at.is_(None))
    unsettled = exists().where(mine)
    with parts.catalog.read() as session:
        query = (
            select(Label.id, Label.image_id, Label.store_key, Image.key)
            .join(Image, Image.id == Label.image_id)
            .where(
                Label.dataset_id == dataset_id,
                Label.place == "store",
                Label.upload_pending.is_(False),
                Label.state.in_(_STANDS),
                ~unsettled,
                Image.skipped_reason == "",  # an image that is away takes its labels with it, and brings them back
            )
        )
        rows = session.execute(query).all()
    held = store.label_keys() if rows else set()
    for label_id, image_id, store_key, key in rows:
        if store_key in held or _is_there(store, key, store_key):
            continue
        gone = CheckedNotice(kind="removed", image_id=image_id, store_key=store_key, label_id=label_id)
        parts.catalog.unit(partial(_note_gone, dataset_id, gone))


def _note_gone(dataset_id: str, gone: CheckedNotice, session: Session) -> None:
    notify(session, dataset_id, [gone], ACTOR)
    look_anew(session, dataset_id)


def _is_there(store: ImageStore, image: str, key: str) -> bool:
    try:
        store.label(image, key)
    except NotFoundError:
        return False
    return True
