"""Where a saved label is written besides our own copy, and in which form."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from configs.errors import AccessError, ConflictError, InvalidRequestError, ReadOnlyStoreError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog.tables import Image
from infra.adapters.images.base import ImageStore, LabelToStore, StoredLabel
from infra.adapters.images.places import LabelPlace, open_place
from infra.adapters.security.egress import same_origin
from infra.wiring import Parts
from tasks.images.geometry import Geometry
from tasks.images.health import degrade
from tasks.images.stores import credentials_for, store_of
from tasks.images.volume import Volume
from tasks.labels.forms.read import read_label
from tasks.labels.forms.series import series_headers
from tasks.labels.forms.write import Origin, write_seg
from tasks.labels.incoming.checked import Place

READ_ONLY = "The image store is read-only: the label is kept here."
WAITS = "The image store does not answer now: the label is kept here, and is written there when it is back."


@dataclass(frozen=True)
class Said:
    """What a written label says of itself besides its voxels. `sha256`: of the file as it was saved, if known."""

    label_id: str
    author: str
    origin: Origin
    names: Mapping[int, str]
    model: str = ""
    sha256: str = ""


class Grid(NamedTuple):
    """An image's grid, or why there is none, and the store that gave it.

    Attributes:
        geometry: None = there is none now.
        lost: Why there will be none; empty = the store may give it later.
        store: Open; None = it could not be opened.
    """

    geometry: Geometry | None = None
    lost: str = ""
    store: ImageStore | None = None

    def known(self) -> Geometry:
        """Return the image's grid.

        Raises:
            StoreError: If there is none now.
        """
        if self.geometry is None:
            raise StoreError("The image could not be read, so it is not known what its label is to lie on")
        return self.geometry


@dataclass(frozen=True)
class Written:
    """Where a label went. `note`: what its author is told; `waits`: the place did not answer."""

    stored: StoredLabel | None = None
    place: Place = "home"
    note: str = ""
    waits: bool = False


def write_label(
    parts: Parts,
    spec: DatasetSpec,
    image: Image,
    file: Path,
    grid: Grid,
    said: Said,
    *,
    settle: bool = True,
) -> Written:
    """Write a label to where its data set wants labels; what cannot be written stays with us, and the answer says why.

    A DICOMweb server gets a SEG of our writing: a client's may refer to another series or reuse an old UID.

    Args:
        parts: The adapters.
        spec: The data set's.
        image: Its image.
        file: The label as it was saved.
        grid: The image's.
        said: What the label says of itself.
        settle: Whether a folder has to have it at once; else `store_label` sees to it.
    """
    if spec.labels_to == "home":
        return Written()
    place: Place = "store" if spec.labels_to == "store" else "elsewhere"
    try:
        with tempfile.TemporaryDirectory(prefix="seg-") as folder:
            ready = _in_form(parts, spec, image, file, Path(folder), grid.known(), said)
            if isinstance(ready, str):
                return Written(note=ready)
            target = _open(parts, image.dataset_id, spec, grid.store)
            sha256 = said.sha256 if ready == file else ""
            to_store = LabelToStore(id=said.label_id, path=ready, sha256=sha256, settle=settle)
            stored = target.put_label(image.key, to_store)
    except ReadOnlyStoreError:
        return Written(note=READ_ONLY)
    except StoreError as error:
        if place == "store" and isinstance(error, AccessError):
            degrade(parts, image.dataset_id, error)
        return Written(place=place, note=WAITS, waits=True)
    except (InvalidRequestError, ConflictError) as error:
        return Written(note=f"The image store cannot hold this label, so it is kept here: {error}")
    return Written(stored, place)


def _open(parts: Parts, dataset_id: str, spec: DatasetSpec, store: ImageStore | None) -> LabelPlace:
    if spec.labels_to == "store":
        return store or store_of(parts, dataset_id)
    web = spec.labels_to.startswith("http")
    session = None
    if web:
        session = (parts.egress.trusting(spec.labels_to) if spec.by_admin else parts.egress).session()
    # Credentials were given for the images' server; another one is not shown them.
    credentials = credentials_for(parts, dataset_id) if same_origin(spec.labels_to, spec.url) else None
    return open_place(spec.labels_to, credentials=credentials, session=session)


def _in_form(
    parts: Parts,
    spec: DatasetSpec,
    image: Image,
    file: Path,
    folder: Path,
    geometry: Geometry,
    said: Said,
) -> Path | str:
    """Return the file that the place takes: as it was saved, or a SEG; or why there is none."""
    to_web = spec.kind == "dicomweb" if spec.labels_to == "store" else spec.labels_to.startswith("http")
    if file.suffix == ".json":
        return "A DICOMweb server keeps no JSON: the label is kept here." if to_web else file
    if spec.kind == "folder" and not to_web:
        return file
    headers = series_headers(parts, image.dataset_id, image.key)
    if headers is None:
        return "A DICOMweb server keeps labels of DICOM images only: the label is kept here." if to_web else file
    label = read_label(file, geometry)
    target = folder / "label.dcm"
    write_seg(
        Volume(label.array, geometry.affine),
        said.names or label.names,
        headers,
        target,
        label_id=said.label_id,
        author=said.author,
        origin=said.origin,
        model=said.model,
    )
    return target
