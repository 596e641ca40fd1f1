"""Labels from elsewhere, and for elsewhere: other programs' files imported, what a data set trains with exported."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError, StoreError
from configs.kinds import LabelKind
from configs.states import LabelState, Side
from infra.adapters.catalog import datasets, experiments, labels
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Label
from infra.services.callers import Caller, Right, allow
from infra.services.data import label_history
from infra.services.data.freshness import look_again
from infra.services.data.images import ImageFile, basename
from infra.services.data.labels import file_of
from infra.wiring import Parts
from tasks.images.geometry import Geometry
from tasks.images.stores import image_of, store_of
from tasks.images.volume import Volume
from tasks.labels.choosing.choose import about, chosen, rules_of
from tasks.labels.choosing.staple import derived_id
from tasks.labels.forms.convert import CocoImage, Form, to_coco, to_nifti
from tasks.labels.forms.read import read_label
from tasks.labels.forms.series import series_headers
from tasks.labels.forms.write import write_seg
from tasks.labels.incoming.save import LabelParams, SavedLabel, linked, origin_of, save_label
from tasks.labels.incoming.whose import image_of_label
from tasks.rounds.evaluation.sides import sides


class Carried(BaseModel):
    """One label that goes out, and where it comes from. Ids are the catalog's; times are seconds since 1970, UTC."""

    model_config = ConfigDict(frozen=True)

    image: str
    side: Side
    label: str
    kind: LabelKind
    version: int
    author: str
    author_name: str
    tool: str
    base_version: str | None = Field(description="The model version that was corrected.")
    unedited: bool
    imported: bool
    approved: bool
    annotated: list[str] | None
    names: dict[str, str]
    derived_from: list[str] = Field(description="Labels that it was joined from.")
    created_at: float


class Export(BaseModel):
    """What a data set's images train with now."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    experiment: str | None = Field(description="Whose sides these are; None = of nobody yet: the hash's.")
    labels: dict[str, str]
    rows: list[Carried]


def carry_in(parts: Parts, caller: Caller, name: str, source: BinaryIO, file_name: str, image: str = "") -> SavedLabel:
    """Take in a label that was made elsewhere: it trains, and never counts. Repeating it changes nothing.

    Args:
        parts: The adapters.
        caller: Who asks.
        name: The data set's name or id.
        source: The label: NIfTI, NRRD, MetaImage, DICOM SEG or RTSTRUCT, PNG or TIFF of a picture, JSON.
        file_name: What its owner calls it, below the folder that it comes from.
        image: Its image; empty = the one that it refers to, else the one of its name.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set, or no such image.
        InvalidRequestError: If it cannot be read, or several images may be meant.
    """
    allow(caller, Right.MANAGE_DATASETS)
    with parts.catalog.read() as session:
        dataset_id = datasets.find(session, caller.org, name).id
    look_again(parts, dataset_id)
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        content = Path(folder) / "content"
        with content.open("wb") as file:
            shutil.copyfileobj(source, file)
        (Path(folder) / "named").mkdir()
        path = linked(content, Path(folder) / "named")
        with parts.catalog.read() as session:
            key = image or image_of_label(session, dataset_id, path, file_name)
        return save_label(parts, dataset_id, key, path, LabelParams(imported=True, tool="import"), caller.subject)


def listed(parts: Parts, caller: Caller, name: str, experiment: str | None = None) -> Export:
    """Return the label that each image would train with, with its side and where it comes from.

    Args:
        parts: The adapters.
        caller: Who asks.
        name: The data set's name or id.
        experiment: For whom; default: the newest that learns from it.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set or experiment.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        dataset = datasets.find(session, caller.org, name)
        learner = _learner(session, caller, dataset, experiment)
        given = sides(session, learner.lineage) if learner else {}
        found = _trained(session, dataset, learner)
        rows = [_carried(label, image, given.get(image.patient_key, "")) for label, image in found]
        return Export(
            dataset=dataset.id,
            experiment=learner.id if learner else None,
            labels={str(index): str(label) for index, label in (learner.labels if learner else {}).items()},
            rows=sorted(rows, key=lambda row: row.image),
        )


def carried(parts: Parts, caller: Caller, label_id: str, form: Form) -> ImageFile:
    """Return a label as NIfTI or SEG on its image's grid; a class or boxes as the JSON that they are.

    Raises:
        NotFoundError: If the organisation has no such label.
        InvalidRequestError: If it has no such form.
        MismatchError: If it does not fit its image.
        StoreError: If the image cannot be read.
    """
    row, image, geometry = _with_image(parts, caller, label_id)
    kept = file_of(parts, row)
    if row.kind != "mask":
        return kept
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        file = linked(kept.path, Path(folder))
        ending = ".nii.gz" if form == "nifti" else ".dcm"
        target = Path(folder) / f"out{ending}"
        if form == "nifti":
            to_nifti(file, geometry, target)
        else:
            _write_seg(parts, row, image, file, geometry, target)
        # Kept as a blob: the answer is sent when this folder is gone.
        return ImageFile(path=parts.blobs.path(parts.blobs.put_file(target)), name=f"{basename(image.key)}{ending}")


def as_coco(parts: Parts, caller: Caller, label_id: str) -> CocoImage:
    """Return what a label says of a picture, as COCO says it.

    Raises: as `carried`.
    """
    row, image, geometry = _with_image(parts, caller, label_id)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        said = to_coco(linked(file_of(parts, row).path, Path(folder)), geometry)
    file = ""
    with suppress(NotFoundError, StoreError):  # the file's name alone: what is said of the picture is here
        file = store_of(parts, row.dataset_id).image(image.key).file
    return said.model_copy(update={"file_name": file or image.key})


def _with_image(parts: Parts, caller: Caller, label_id: str) -> tuple[Label, Image, Geometry]:
    row = label_history.get(parts, caller, label_id).row
    with parts.catalog.read() as session:
        image = session.get_one(Image, row.image_id)
    return row, image, image_of(parts, store_of(parts, row.dataset_id), image).geometry()


def _write_seg(parts: Parts, row: Label, image: Image, file: Path, geometry: Geometry, target: Path) -> None:
    headers = series_headers(parts, row.dataset_id, image.key)
    if headers is None:
        raise InvalidRequestError("A SEG refers to DICOM images, and this image is none: export nifti")
    label = read_label(file, geometry)
    write_seg(
        Volume(label.array, geometry.affine),
        {**label.names, **{int(value): str(name) for value, name in row.names.items()}},
        headers,
        target,
        label_id=row.id,
        author=row.author_name or row.author,
        origin=origin_of(unedited=row.unedited, base_version=row.base_version),
        model=row.base_version or "",
    )


def _learner(session: Session, caller: Caller, dataset: Dataset, name: str | None) -> Experiment | None:
    if name:
        return experiments.find(session, caller.org, name)
    return next(reversed(experiments.using(session, caller.org, dataset.id, "train")), None)


def _trained(session: Session, dataset: Dataset, learner: Experiment | None) -> Sequence[tuple[Label, Image]]:
    """Return each image's label, of each kind where nobody says which is learnt."""
    rules, names = rules_of(session, dataset.id), learner.labels if learner else {}
    active: dict[tuple[int, str], list[Label]] = {}
    images: dict[int, Image] = {}
    for label, image in labels.active_up_to(session, dataset.id, dataset.label_seq):
        if learner is None or label.kind == learner.learns:
            active.setdefault((image.id, label.kind), []).append(label)
            images[image.id] = image
    found = []
    for (image_id, _), of_image in active.items():
        each = chosen(about(of_image, names), rules)
        indices = {int(index): str(label) for index, label in names.items()}
        joined = session.get(Label, derived_id(each, indices)) if len(each) > 1 else None
        if each:
            found.append((joined or each[0], images[image_id]))
    return found


def _carried(label: Label, image: Image, side: str) -> Carried:
    own = {
        field: getattr(label, field)
        for field in Carried.model_fields
        if field not in {"image", "side", "label", "derived_from"}
    }
    by_hash = Side.EVALUATE if image.held_out else Side.TRAIN
    sources = label.params.get("from", []) if label.state == LabelState.DERIVED else []
    return Carried.model_validate(
        {**own, "image": image.key, "side": side or by_hash, "label": label.id, "derived_from": sources}
    )
