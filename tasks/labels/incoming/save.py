"""A label comes in by being saved: kept whole, checked, and counted in one unit.

The bytes are durable before the unit; the unit is what acknowledges. The id follows from the content and what is said
of it, so a client that repeats its request after a lost answer finds its label there, counted once.

A store that does not answer stops nobody: the label is kept and written there later (`upload.py` beside this). It
counts at once where the image is on this host, so that the label could be compared with it; else when it can be.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, StorageFullError, StoreError
from configs.failpoints import fail_point
from configs.kinds import LabelKind
from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import images, labels, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.adapters.images.base import MOST_BYTES, ImageStore, StoredLabel
from infra.wiring import Parts
from tasks.images.geometry import Geometry
from tasks.images.stores import image_of, store_of
from tasks.labels.forms.read import ending_in
from tasks.labels.forms.structured import check_structured, kind_in
from tasks.labels.forms.write import Origin
from tasks.labels.incoming.check import CheckedLabel, check_label, check_readable
from tasks.labels.incoming.names import Names, names_on
from tasks.labels.incoming.place import Grid, Said, Written, write_label
from tasks.rounds.count import CheckedNotice, notify

UNCHECKED = "Its image could not be read now: the label is compared with it, and counted, when the store is back."
LOST = "The image is no longer in its store as it was listed, so the label cannot be compared with it."
PREDICTIONS = "original"
"""The tag under which clients save a model's output that nobody has looked at."""


class LabelParams(BaseModel):
    """What the saving client says of its label."""

    model_config = ConfigDict(frozen=True)

    tag: str = Field(default="final", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    names: dict[int, str] = Field(default_factory=dict, description="Value in the file -> name.")
    annotated: list[str] | None = Field(default=None, description="Names that it speaks about; None = all.")
    base_version: str | None = Field(default=None, max_length=36, description="Model version that was corrected.")
    unedited: bool = Field(default=False, description="The model's own output, saved as it was.")
    imported: bool = Field(default=False, description="It was made elsewhere: it trains, and never counts.")
    predicted: bool = Field(default=False, description="A program saves what a model made, under whatever tag.")
    tool: str = Field(default="", max_length=200)
    author_name: str = Field(default="", max_length=200, description="What people call who saves; default: their id.")
    sent: dict[str, object] = Field(default_factory=dict, description="All that the client sent, kept with the label.")

    @property
    def prediction(self) -> bool:
        """Whether a program saves what a model made."""
        return self.predicted or self.tag == PREDICTIONS


class _Kept(NamedTuple):
    """A label's file, the blob that it is, and what its values mean where nobody says otherwise."""

    label_id: str
    blob: str
    file: Path
    names: Mapping[int, str]


class SavedLabel(BaseModel):
    """What became of a saved label."""

    model_config = ConfigDict(frozen=True)

    image: str
    label: str = Field(description="Its id in `notify`.")
    label_id: str
    version: int = 1
    warnings: list[str]
    counted: bool
    quarantined: bool
    pending_upload: bool = False


def save_label(
    parts: Parts, dataset_id: str, image_key: str, source: Path | BinaryIO, params: LabelParams, actor: str
) -> SavedLabel:
    """Save a label of an image; it counts by itself.

    Args:
        parts: The adapters.
        dataset_id: The data set.
        image_key: The image's id in it.
        source: The label's bytes, in a file or as they come: NIfTI, NRRD, MetaImage, DICOM SEG or RTSTRUCT, of a
            picture PNG or TIFF, or JSON of a class or boxes.
        params: What the client says of it.
        actor: Who saves.

    Raises:
        NotFoundError: If there is no such image.
        InvalidRequestError: If the bytes cannot be read; everything readable is kept.
    """
    params = params.model_copy(update={"author_name": params.author_name or actor})
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
        notice, settled, learnt = _taken(parts, (dataset_id, image_key), stream, params, actor)
    fail_point(parts.settings, "label-bytes-stored")

    def kept(session: Session) -> SavedLabel:
        """Count the label, and note where it lies."""
        changed = notify(session, dataset_id, [notice], actor)
        row = session.get(Label, notice.label_id) or labels.find(
            session, dataset_id, notice.image_id, notice.store_key, notice.fingerprint
        )
        if row is None:
            raise InvalidRequestError("The label could not be kept: save it again")
        if notice.place != "home" and not notice.upload_pending:
            row.store_key, row.fingerprint, row.place = notice.store_key, notice.fingerprint, notice.place
            row.upload_pending = False
        _ask_for_upload(session, row, settled=settled)
        return _saved(image_key, row, notice, counted=bool(changed) and learnt)

    saved = parts.catalog.unit(kept)
    fail_point(parts.settings, "label-committed")
    return saved


def _taken(
    parts: Parts, place: tuple[str, str], stream: BinaryIO, params: LabelParams, actor: str
) -> tuple[CheckedNotice, bool, bool]:
    """Look at a label of an image of a data set, and write it to its place, while our own copy becomes durable.

    Returns:
        What is to be counted, whether the copy in its place outlives a power cut, and whether anybody is to learn it.
    """
    with tempfile.TemporaryDirectory(prefix="label-") as folder, parts.blobs.putting(stream) as incoming:
        # What is known without the bytes comes first: they are being written meanwhile.
        with parts.catalog.read() as session:
            image = images.by_key(session, *place)
            spec = DatasetSpec.model_validate(session.get_one(Dataset, image.dataset_id).spec)
        grid = grid_of(parts, image.dataset_id, image)
        file = linked(incoming.file.result(), Path(folder))
        kind = kind_in(file)
        with parts.catalog.read() as session:
            here = names_on(session, image.dataset_id, params.base_version, kind)
        checked = check_saved(file, grid.geometry, here, params, most_bytes=parts.settings.volume_bytes)
        if lost := grid.lost:
            checked = checked.model_copy(update={"quarantine": lost, "warnings": [*checked.warnings, lost]})
        blob = incoming.sha256.result()
        label_id = _id_of(image.dataset_id, image, blob, params, actor if spec.annotators_per_image > 1 else "")
        kept = _Kept(label_id, blob, file, here.known)
        written = _written(parts, spec, image, kept, grid, checked, params)
    unchecked = grid.geometry is None and not lost
    notice = _notice(image, kept, kind, params, checked, written, unchecked=unchecked)
    return notice, written.stored is None or written.stored.settled, kind == "mask" or bool(here.known)


def linked(source: Path, folder: Path) -> Path:
    """Return a link to a label's bytes, with the ending that they have: readers go by it.

    Raises:
        InvalidRequestError: If it is in none of the formats that we read.
    """
    target = folder / f"label{_ending(source)}"
    target.symlink_to(source)
    return target


def fetched(store: ImageStore, key: str, folder: Path) -> Path:
    """Fetch a store's label, with the ending that its bytes have, whatever its owner called it; raises as `linked`."""
    source = store.fetch_label(key, folder)
    return source.rename(folder / f"fetched{_ending(source)}")


def _ending(source: Path) -> str:
    ending = ending_in(source)
    if ending is None:
        raise InvalidRequestError(
            "The label's bytes are no NIfTI, NRRD, MetaImage, DICOM SEG or RTSTRUCT, PNG, TIFF or JSON: send one of"
            " those."
        )
    return ending


def grid_of(parts: Parts, dataset_id: str, image: Image) -> Grid:
    """Return the image's grid, or why there is none."""
    try:
        store = store_of(parts, dataset_id)
        return Grid(image_of(parts, store, image).geometry(), store=store)
    except (StoreError, StorageFullError):
        return Grid()
    except (NotFoundError, ConflictError, InvalidRequestError):
        return Grid(lost=LOST)


def check_saved(
    file: Path,
    geometry: Geometry | None,
    here: Names,
    params: LabelParams,
    *,
    most_bytes: int = MOST_BYTES,
) -> CheckedLabel:
    """Say what a saved file holds; without the image's grid only whether it can be read.

    Raises:
        InvalidRequestError: If the bytes cannot be read.
    """
    if file.suffix == ".json":
        return check_structured(geometry, file, here, names=params.names or None, annotated=params.annotated)
    if geometry is None:
        return check_readable(file, most_bytes)
    return check_label(geometry, file, here, names=params.names or None, annotated=params.annotated)


def spoken(kind: str, checked: CheckedLabel, said: Sequence[str] | None) -> list[str] | None:
    """Return the names that a label is noted to speak about; None = those that it names, or all.

    Of a mask its author says so; whoever names one class has spoken of all.
    """
    return list(said or ()) or None if kind == "mask" else checked.annotated or None


def origin_of(*, unedited: bool, base_version: str | None, prediction: bool = False) -> Origin:
    """Return what a SEG says of who made it."""
    if unedited or prediction:
        return "AUTOMATIC"
    return "SEMIAUTOMATIC" if base_version else "MANUAL"


def _written(
    parts: Parts,
    spec: DatasetSpec,
    image: Image,
    kept: _Kept,
    grid: Grid,
    checked: CheckedLabel,
    params: LabelParams,
) -> Written:
    """Write the label to its place, unless it stands there already, or does not belong there."""
    with parts.catalog.read() as session:
        row = session.get(Label, kept.label_id)
    stays = spec.labels_to == "home" or (params.prediction and not spec.write_predictions)
    if row is not None and row.place != "home" and not row.upload_pending:
        stored = StoredLabel(image=image.key, key=row.store_key, fingerprint=row.fingerprint, automatic=False)
        return Written(stored, "store" if row.place == "store" else "elsewhere")
    if checked.quarantine is not None or stays:
        return Written()
    said = Said(
        label_id=kept.label_id,
        author=params.author_name,
        origin=origin_of(unedited=params.unedited, base_version=params.base_version, prediction=params.prediction),
        names=params.names or checked.names or kept.names,
        model=params.base_version or "",
        sha256=kept.blob,
    )
    return write_label(parts, spec, image, kept.file, grid, said, settle=False)


def _id_of(dataset_id: str, image: Image, blob: str, params: LabelParams, person: str) -> str:
    """Return the id that this content has, said so; the tag is no part of it: several may point to one version."""
    said = [
        sorted(params.names.items()),
        params.annotated,
        params.base_version,
        params.unedited,
        params.prediction,
        person,
    ]
    return str(uuid5(NAMESPACE_URL, f"{dataset_id}/{image.id}/{blob}/{json.dumps(said)}"))


def _notice(
    image: Image,
    kept: _Kept,
    kind: LabelKind,
    params: LabelParams,
    checked: CheckedLabel,
    written: Written,
    *,
    unchecked: bool,
) -> CheckedNotice:
    stored = written.stored
    told = [*checked.warnings, *filter(None, [written.note, UNCHECKED if unchecked else ""])]
    names = (params.names if kind == "mask" else {}) or checked.names
    return CheckedNotice(
        kind="added",
        image_id=image.id,
        store_key=stored.key if stored else f"home/{kept.label_id}",
        fingerprint=stored.fingerprint if stored else kept.blob,
        label_id=kept.label_id,
        label_kind=kind,
        blob=kept.blob,
        tag=params.tag,
        imported=params.imported,
        unedited=params.unedited,
        annotated=spoken(kind, checked, params.annotated or list(params.names.values())),
        names={str(value): name for value, name in names.items()},
        tool=params.tool,
        author_name=params.author_name,
        base_version=params.base_version,
        params=params.sent,
        warnings=told,
        place=written.place,
        upload_pending=written.waits,
        saved=True,
        quarantined=checked.quarantine is not None,
        unchecked=unchecked,
        prediction=params.prediction,
    )


def _ask_for_upload(session: Session, row: Label, *, settled: bool) -> None:
    waits = row.upload_pending or row.state == LabelState.PENDING_UPLOAD or not settled
    if waits and not outbox.undelivered(session, OutboxKind.STORE_LABEL, row.id):
        outbox.enqueue(session, OutboxKind.STORE_LABEL, row.id)


def _saved(image_key: str, row: Label, notice: CheckedNotice, *, counted: bool) -> SavedLabel:
    return SavedLabel(
        image=image_key,
        label=row.store_key,
        label_id=row.id,
        version=row.version,
        warnings=notice.warnings,
        counted=counted and row.state == LabelState.ACTIVE,
        quarantined=row.state == LabelState.QUARANTINED,
        pending_upload=row.upload_pending or row.state == LabelState.PENDING_UPLOAD,
    )
