"""A label that its store could not take is checked, counted and written there when the store is back.

So is the copy in a folder made to outlive a power cut, for which no save waits: our own copy does by then.

Checking and counting is one unit, writing another: each may be done and then repeated. The SEG's UIDs and the file's
name follow from the label's id, so a process that dies between the store and the row makes no second one.
"""

import logging
import tempfile
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, StoreError
from configs.failpoints import fail_point
from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import Entry, OutboxKind
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.adapters.images.base import LabelToStore
from infra.adapters.images.folder import FolderStore
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.labels.incoming.check import CheckedLabel
from tasks.labels.incoming.intake import activate
from tasks.labels.incoming.names import Names, names_on
from tasks.labels.incoming.place import Grid, Said, write_label
from tasks.labels.incoming.save import LabelParams, check_saved, grid_of, linked, origin_of
from tasks.rounds.count import count_image, hold, open_round_if_due

_DONE = frozenset({LabelState.REMOVED, LabelState.QUARANTINED})
log = logging.getLogger(__name__)


def store_label(parts: Parts, entry: Entry) -> None:
    """Check, count and write a label that waits for its store; or make its copy in a folder outlive a power cut.

    Raises:
        StoreError: If the store still cannot be read or written: it is tried again.
    """
    with parts.catalog.read() as session:
        row = session.get(Label, entry.ref)
        image = session.get(Image, row.image_id) if row is not None else None
        here = names_on(session, row.dataset_id, row.base_version, row.kind) if row is not None else Names()
    if row is None or image is None or row.blob is None or row.state in _DONE:
        return
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        file = linked(parts.blobs.path(row.blob), Path(folder))
        if row.state != LabelState.PENDING_UPLOAD and not row.upload_pending:
            _settle_copy(parts, row, image, file)
            return
        grid = grid_of(parts, row.dataset_id, image)
        if grid.geometry is None and not grid.lost:
            raise StoreError("The image store does not answer yet")
        if row.state == LabelState.PENDING_UPLOAD:
            checked = _checked(file, grid, here, row)
            if not _settle(parts, row, checked):
                return
        if row.upload_pending and grid.geometry is not None:
            _write(parts, row, image, file, grid, here)


def store_is_back(parts: Parts) -> None:
    """Have what waits for a store tried now."""
    with parts.catalog.read() as session:
        if not outbox.waiting(session, OutboxKind.STORE_LABEL):
            return
    with parts.catalog.write() as session:
        outbox.hasten(session, [OutboxKind.STORE_LABEL])


def _settle_copy(parts: Parts, row: Label, image: Image, file: Path) -> None:
    """Put a label into its data set's folder once more: synced, and whole again where a power cut took some of it."""
    try:
        store = store_of(parts, row.dataset_id)
        if row.place == "store" and isinstance(store, FolderStore):
            store.put_label(image.key, LabelToStore(id=row.id, path=file, sha256=row.blob or ""))
    except (NotFoundError, ConflictError):  # its image is gone, or somebody changed the copy: as they like
        log.info("the copy of label %s is left as it is", row.id)


def _checked(file: Path, grid: Grid, here: Names, row: Label) -> CheckedLabel:
    if grid.geometry is None:
        return CheckedLabel(quarantine=grid.lost, warnings=[grid.lost])
    params = LabelParams(names={int(value): str(name) for value, name in row.names.items()}, annotated=row.annotated)
    try:
        return check_saved(file, grid.geometry, here, params)
    except InvalidRequestError as error:
        return CheckedLabel(quarantine=str(error), warnings=[str(error)])


def _settle(parts: Parts, row: Label, checked: CheckedLabel) -> bool:
    """Count a label that has been compared with its image, or put it into quarantine; say whether it fits."""

    def settled(session: Session) -> bool:
        """Count it, unless it was replaced while it was compared."""
        dataset, loops = hold(session, row.dataset_id)
        label = session.get_one(Label, row.id)
        if label.state != LabelState.PENDING_UPLOAD:
            return label.state not in _DONE  # replaced or taken out meanwhile
        label.warnings = list(checked.warnings)
        if checked.quarantine is not None:
            label.state, label.upload_pending = LabelState.QUARANTINED, False
            session.flush()
            count_image(session, dataset, loops, label.image_id)
            return False
        if not label.names:
            label.names = {str(value): name for value, name in checked.names.items()}
        activate(session, dataset, label, "added", label.author)
        count_image(session, dataset, loops, label.image_id, new=label.kind)
        for loop in loops:
            open_round_if_due(session, loop)
        return True

    return parts.catalog.unit(settled)


def _write(parts: Parts, row: Label, image: Image, file: Path, grid: Grid, here: Names) -> None:
    said = Said(
        label_id=row.id,
        author=row.author_name or row.author,
        origin=origin_of(unedited=row.unedited, base_version=row.base_version),
        names={int(value): str(name) for value, name in row.names.items()} or here.known,
        model=row.base_version or "",
    )
    with parts.catalog.read() as session:
        spec = DatasetSpec.model_validate(session.get_one(Dataset, row.dataset_id).spec)
    written = write_label(parts, spec, image, file, grid, said)
    if written.waits:
        raise StoreError("The image store could not be written yet")
    fail_point(parts.settings, "label-stored")
    values: dict[str, object] = {"upload_pending": False, "place": written.place}
    if written.stored is not None:
        values |= {"store_key": written.stored.key, "fingerprint": written.stored.fingerprint}
    elif written.note:
        values |= {"warnings": [*row.warnings, written.note]}
    with parts.catalog.write() as session:
        session.execute(update(Label).where(Label.id == row.id).values(values))
