"""Several people's labels of one image → one that is learnt from: STAPLE, kept as a derived version.

Warfield, Zou, Wells: Simultaneous truth and performance level estimation (STAPLE), IEEE TMI 23(7), 2004, in the form
for several labels of Rohlfing et al. 2004, as SimpleITK computes it. It runs inside the box of what anybody marked:
the background beyond would only make everybody look right.
"""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from configs.states import LabelState
from infra.adapters.catalog import images
from infra.adapters.catalog.tables import Label
from infra.wiring import Parts
from tasks.images.geometry import Geometry
from tasks.images.stores import image_of, store_of
from tasks.images.volume import Volume, write_nifti
from tasks.labels.choosing.choose import SOURCE_LAYER, choices, rules_of
from tasks.labels.forms.label_map import map_label
from tasks.labels.forms.read import ending_in, read_label
from tasks.labels.incoming.intake import next_version
from tasks.labels.incoming.names import Names

TOOL = "STAPLE"
_UNDECIDED = 0
# Confusion matrices that change less than this decide every voxel alike.
_THRESHOLD = 1e-5
# It converges within tens; people who contradict each other may make it swing.
_MOST_ITERATIONS = 100
# With some background around them, or people's agreement on it would count for nothing.
_MARGIN = 1
log = logging.getLogger(__name__)


def staple(said: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the most likely truth behind several label maps.

    Args:
        said: Label maps of one shape, axes (i, j, k), in the same values.

    Returns:
        A label map of that shape; a voxel on which they are evenly at odds is background.
    """
    import SimpleITK  # noqa: PLC0415 - 100 MB in every process, and one in a thousand needs it

    marked = np.any([array != 0 for array in said], axis=0)
    if not marked.any():
        return np.zeros_like(said[0])
    box = tuple(
        slice(max(int(where.min()) - _MARGIN, 0), int(where.max()) + _MARGIN + 1) for where in np.nonzero(marked)
    )
    parts = [SimpleITK.GetImageFromArray(np.ascontiguousarray(array[box], dtype=np.uint16)) for array in said]
    found = SimpleITK.MultiLabelSTAPLE(parts, _UNDECIDED, _THRESHOLD, _MOST_ITERATIONS)
    result = np.zeros(said[0].shape, dtype=np.result_type(*said))
    result[box] = SimpleITK.GetArrayFromImage(found)
    return result


def derived_id(labels: Sequence[Label], names: Mapping[int, str]) -> str:
    """Return the id of what is derived from these labels in an experiment's names."""
    return str(uuid5(NAMESPACE_URL, json.dumps([TOOL, sorted(label.id for label in labels), sorted(names.items())])))


def derive_labels(parts: Parts, dataset_id: str, to_seq: int, names: Mapping[int, str]) -> int:
    """Derive one label of each complete image with several people's labels; return how many were new.

    Args:
        parts: The adapters.
        dataset_id: A data set; nothing is done unless it says `resolve: staple`.
        to_seq: Labels up to this number.
        names: The experiment's, index → name.

    Raises:
        StoreError: If an image's grid cannot be read now.
    """
    with parts.catalog.read() as session:
        if rules_of(session, dataset_id).resolve != "staple":
            return 0
        several = [found for found in choices(session, dataset_id, to_seq, names) if len(found) > 1]
        missing = [found for found in several if session.get(Label, derived_id(found, names)) is None]
    made = 0
    for found in missing:
        try:
            _derive(parts, dataset_id, found, names)
            made += 1
        except (NotFoundError, ConflictError, InvalidRequestError) as error:
            # The newest of them is learnt from instead; an image that is gone is left out where it is fetched.
            log.warning("labels of image %d are not joined: %s", found[0].image_id, type(error).__name__)
    return made


def _derive(parts: Parts, dataset_id: str, found: Sequence[Label], names: Mapping[int, str]) -> None:
    with parts.catalog.read() as session:
        image = images.get(session, found[0].image_id)
    grid = image_of(parts, store_of(parts, dataset_id), image).geometry()
    mapped = [_mapped(parts, label, grid, names) for label in found]
    # Of a name that one of them left out, silence is no vote for background.
    spoken = [name for name in mapped[0].annotated if all(name in one.annotated for one in mapped)]
    array = staple([one.array for one in mapped])
    kept = [index for index, name in names.items() if name in spoken]
    array[~np.isin(array, kept)] = 0
    with tempfile.TemporaryDirectory(prefix="staple-") as folder:
        path = Path(folder) / "label.nii.gz"
        write_nifti(Volume(array, grid.affine), path)
        blob = parts.blobs.put_file(path)
    _keep(parts, found, names, spoken, blob)


def _mapped(parts: Parts, label: Label, grid: Geometry, names: Mapping[int, str]) -> Any:
    with tempfile.TemporaryDirectory(prefix="staple-") as folder:
        source = parts.blobs.path(label.blob or "")
        path = Path(folder) / f"label{ending_in(source) or '.nii.gz'}"
        path.symlink_to(source)
        said = {int(value): str(name) for value, name in label.names.items()}
        return map_label(read_label(path, grid), Names(dict(names)), names=said or None, annotated=label.annotated)


def _keep(parts: Parts, found: Sequence[Label], names: Mapping[int, str], spoken: list[str], blob: str) -> None:
    new = derived_id(found, names)
    with parts.catalog.write() as session:
        # Two rounds may derive it at once; its id follows from what it is made of, so the second finds the first.
        if session.get(Label, new) is not None:
            return
        newest = max(found, key=lambda label: label.seq)
        session.add(
            Label(
                id=new,
                dataset_id=newest.dataset_id,
                image_id=newest.image_id,
                version=next_version(session, newest.image_id),
                layer=SOURCE_LAYER,
                store_key=f"home/{new}",
                fingerprint=blob,
                blob=blob,
                tag="derived",
                state=LabelState.DERIVED,
                seq=newest.seq,
                unedited=all(label.unedited for label in found),
                annotated=spoken,
                names={str(index): name for index, name in names.items() if name in spoken},
                author="system",
                tool=TOOL,
                params={"from": sorted(label.id for label in found)},
            )
        )
