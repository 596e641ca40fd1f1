"""A label comes in by being saved: kept whole, checked, and counted in one unit.

The bytes are durable before the unit; the unit is what acknowledges. The id follows from the content, so a client
that repeats its request after a lost answer finds its label there, counted once.
"""

import shutil
import tempfile
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field

from configs.errors import ConflictError, InvalidRequestError, ReadOnlyStoreError, StoreError
from configs.failpoints import fail_point
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import images, labels
from infra.adapters.catalog.tables import Dataset, Image
from infra.adapters.images.base import ImageStore, LabelToStore, StoredLabel
from infra.wiring import Parts
from tasks.images.geometry import Geometry
from tasks.images.stores import image_of, store_of
from tasks.images.volume import Volume, read_geometry
from tasks.labels.check import CheckedLabel, check_label
from tasks.labels.names import names_on
from tasks.labels.read import HEAD_BYTES, ending_of, read_label
from tasks.labels.series import series_headers
from tasks.labels.write import Origin, write_seg
from tasks.rounds.count import CheckedNotice, notify


class LabelParams(BaseModel):
    """What the saving client says of its label."""

    model_config = ConfigDict(frozen=True)

    tag: str = Field(default="final", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    names: dict[int, str] = Field(default_factory=dict, description="Value in the file -> name.")
    annotated: list[str] | None = Field(default=None, description="Names that it speaks about; None = all.")
    base_version: str | None = Field(default=None, max_length=36, description="Model version that was corrected.")
    unedited: bool = Field(default=False, description="The model's own output, saved as it was.")
    tool: str = Field(default="", max_length=200)
    sent: dict[str, object] = Field(default_factory=dict, description="All that the client sent, kept with the label.")


class SavedLabel(BaseModel):
    """What became of a saved label."""

    model_config = ConfigDict(frozen=True)

    image: str
    label: str = Field(description="Its id in `notify`.")
    label_id: str
    warnings: list[str]
    counted: bool
    quarantined: bool


def save_label(
    parts: Parts, dataset_id: str, image_key: str, source: Path, params: LabelParams, actor: str
) -> SavedLabel:
    """Save a label of an image; it counts by itself.

    Args:
        parts: The adapters.
        dataset_id: The data set.
        image_key: The image's id in it.
        source: The label's bytes: NIfTI, NRRD or DICOM SEG; the name does not matter.
        params: What the client says of it.
        actor: Who saves.

    Raises:
        NotFoundError: If there is no such image.
        InvalidRequestError: If the bytes cannot be read; everything readable is kept.
        StoreError: If the image cannot be read to compare the label with it.
    """
    with parts.catalog.read() as session:
        image = images.by_key(session, dataset_id, image_key)
        spec = DatasetSpec.model_validate(session.get_one(Dataset, dataset_id).spec)
        known = names_on(session, dataset_id)
    store = store_of(parts, dataset_id)
    geometry = read_geometry(image_of(parts, store, image).path)
    with tempfile.TemporaryDirectory(prefix="label-") as folder:
        file = _named(source, Path(folder))
        checked = check_label(geometry, file, known, names=params.names or None, annotated=params.annotated)
        blob = parts.blobs.put_file(file)
        label_id = str(uuid5(NAMESPACE_URL, f"{dataset_id}/{image.id}/{params.tag}/{blob}"))
        key, fingerprint, note = f"home/{label_id}", blob, ""
        if spec.labels_to == "store" and checked.quarantine is None:
            stored = _to_store(store, image, label_id, file, geometry, known, params, actor)
            if isinstance(stored, StoredLabel):
                key, fingerprint = stored.key, stored.fingerprint
            else:
                note = stored
    notice = _notice(image, key, fingerprint, blob, params, checked, [*checked.warnings, *filter(None, [note])])
    with parts.catalog.write() as session:
        changed = notify(session, dataset_id, [notice], actor)
        row = labels.find(session, dataset_id, image.id, key, fingerprint)
        row_id = row.id if row is not None else label_id
    fail_point(parts.settings, "label-committed")
    return SavedLabel(
        image=image_key,
        label=key,
        label_id=row_id,
        warnings=notice.warnings,
        counted=bool(changed) and not notice.quarantined,
        quarantined=notice.quarantined,
    )


def _named(source: Path, folder: Path) -> Path:
    """Copy the upload under a name with the ending that its bytes have."""
    with source.open("rb") as file:
        ending = ending_of(file.read(HEAD_BYTES))
    if ending is None:
        raise InvalidRequestError("The label's bytes are no NIfTI, NRRD or DICOM SEG: send one of those.")
    target = folder / f"label{ending}"
    shutil.copyfile(source, target)
    return target


def _to_store(
    store: ImageStore,
    image: Image,
    label_id: str,
    file: Path,
    geometry: Geometry,
    names: dict[int, str],
    params: LabelParams,
    actor: str,
) -> StoredLabel | str:
    """Write the label to the image's own store; where that fails it stays with us, and the answer says why.

    A DICOMweb server always gets a SEG of our writing: a client's may refer to another series or reuse an old UID.
    """
    try:
        headers = series_headers(store, image.key)
        if headers is not None:
            label = read_label(file, geometry)
            file = Path(tempfile.mkdtemp(dir=file.parent)) / "label.dcm"
            write_seg(
                Volume(label.array, geometry.affine),
                params.names or label.names or names,
                headers,
                file,
                label_id=label_id,
                author=actor,
                origin=_origin(params),
                model=params.base_version or "",
            )
        return store.put_label(image.key, LabelToStore(id=label_id, path=file))
    except ReadOnlyStoreError:
        return "The image store is read-only: the label is kept here."
    except StoreError:
        return "The image store could not be written now: the label is kept here."
    except (InvalidRequestError, ConflictError) as error:
        return f"The image store cannot hold this label, so it is kept here: {error}"


def _origin(params: LabelParams) -> Origin:
    if params.unedited:
        return "AUTOMATIC"
    return "SEMIAUTOMATIC" if params.base_version else "MANUAL"


def _notice(
    image: Image,
    key: str,
    fingerprint: str,
    blob: str,
    params: LabelParams,
    checked: CheckedLabel,
    warnings: list[str],
) -> CheckedNotice:
    return CheckedNotice(
        kind="added",
        image_id=image.id,
        store_key=key,
        fingerprint=fingerprint,
        blob=blob,
        tag=params.tag,
        unedited=params.unedited,
        annotated=params.annotated,
        names={str(value): name for value, name in (params.names or checked.names).items()},
        tool=params.tool,
        base_version=params.base_version,
        params=params.sent,
        warnings=warnings,
        quarantined=checked.quarantine is not None,
    )
