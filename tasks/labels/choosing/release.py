"""An engineer takes a label out of quarantine, with the names that it lacked perhaps; it is checked again."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.orm import Session

from configs.errors import BusyError, ConflictError, NotFoundError
from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import images, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Image, Label
from infra.wiring import Parts
from tasks.labels.incoming.check import CheckedLabel
from tasks.labels.incoming.intake import activate
from tasks.labels.incoming.names import Names, names_on
from tasks.labels.incoming.save import LabelParams, check_saved, grid_of, linked, spoken
from tasks.rounds.count import count_image, hold, open_round_if_due


def release(parts: Parts, label_id: str, names: Mapping[int, str], actor: str) -> None:
    """Take a label in that fits by now; it counts, and goes to its data set's place for labels.

    Args:
        parts: The adapters.
        label_id: The label.
        names: What its values mean, over what was said when it was saved; a value of which neither says anything keeps
            the experiment's name. Empty = as it was.
        actor: Who.

    Raises:
        ConflictError: If it is not in quarantine, or still does not fit: the message says why.
        BusyError: If its image cannot be read now.
    """
    with parts.catalog.read() as session:
        row = session.get_one(Label, label_id)
        image = images.get(session, row.image_id)
        here = names_on(session, row.dataset_id, row.base_version, row.kind)
    _must_wait(row)
    before = {int(value): str(name) for value, name in row.names.items()}
    sure = {value: name for value, name in here.known.items() if value not in here.unsure}
    said = {**(before or sure), **names} if names else before
    params = LabelParams(names=said, annotated=None if names else row.annotated)
    checked = _checked(parts, row, image, here, params)
    annotated = spoken(row.kind, checked, row.annotated)
    if names and row.kind == "mask":
        # Of the names that nobody gave, it speaks about those that it marks. Where no experiment learns from here any
        # more there are none: then its values mean what was said, and nothing else.
        marked = [here.known[value] for value in checked.values if value in here.known]
        annotated = sorted({*names.values(), *(row.annotated or before.values()), *marked})

    values = (said if row.kind == "mask" else {}) or checked.names

    def released(session: Session) -> None:
        """Let the label count, if nobody has taken it in or out meanwhile."""
        dataset, loops = hold(session, row.dataset_id)
        label = session.get_one(Label, label_id)
        _must_wait(label)
        label.names = {str(value): name for value, name in values.items()}
        label.annotated, label.warnings = annotated, list(checked.warnings)
        label.upload_pending = DatasetSpec.model_validate(dataset.spec).labels_to != "home"
        activate(session, dataset, label, "added", actor)
        count_image(session, dataset, loops, label.image_id, new=label.kind)
        if label.upload_pending:
            outbox.enqueue(session, OutboxKind.STORE_LABEL, label.id)
        for loop in loops:
            open_round_if_due(session, loop)

    parts.catalog.unit(released)


def _checked(parts: Parts, row: Label, image: Image, here: Names, params: LabelParams) -> CheckedLabel:
    """Compare a label with its image once more, and refuse one that still does not fit."""
    if row.blob is None:
        raise NotFoundError("content of label", row.id)
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        file = linked(parts.blobs.path(row.blob), Path(folder))
        grid = grid_of(parts, row.dataset_id, image)
        if grid.geometry is None and not grid.lost:
            raise BusyError("The label's image cannot be read now: try again when its store is back")
        checked = check_saved(file, grid.geometry, here, params)
    if grid.lost or checked.quarantine is not None:
        raise ConflictError(f"Label {row.id} still cannot be learnt from: {grid.lost or checked.quarantine}")
    return checked


def _must_wait(label: Label) -> None:
    if label.state != LabelState.QUARANTINED:
        raise ConflictError(f"Label {label.id} is {label.state}, not in quarantine: there is nothing to release")
