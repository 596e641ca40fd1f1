"""Whether a label can be learnt from. A person's work is kept whatever the answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from configs.errors import MismatchError
from infra.adapters.images.base import MOST_BYTES
from tasks.images.geometry import Geometry
from tasks.images.volume import PICTURE, Volume, read_geometry, read_volume, write_nifti
from tasks.labels.forms.label_map import map_label
from tasks.labels.forms.read import names_in, read_label
from tasks.labels.incoming.names import Names


class CheckedLabel(BaseModel):
    """What a label holds, in an experiment's words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: list[int] = Field(default_factory=list, description="Indices of the experiment that it marks.")
    annotated: list[str] = Field(default_factory=list, description="Names that it speaks about.")
    names: dict[int, str] = Field(default_factory=dict, description="What the values as saved mean, where known.")
    warnings: list[str] = Field(default_factory=list, description="For the person who saved it.")
    empty: bool = Field(default=False, description="Whether it marks no voxel of the experiment's labels.")
    automatic: bool = Field(default=False, description="Whether the file says that a program made all of it.")
    quarantine: str | None = Field(default=None, description="Why it cannot be learnt from; None = it can.")


def check_readable(path: Path, most_bytes: int = MOST_BYTES) -> CheckedLabel:
    """Say that a label's bytes can be read, where its image cannot be: nothing is known of its grid and values yet.

    Args:
        path: The label's file.
        most_bytes: What its voxels may take in memory.

    Raises:
        InvalidRequestError: If the bytes cannot be read at all, or are too large for one volume.
    """
    try:
        if path.name.endswith(".dcm"):
            return CheckedLabel(names=dict(names_in(path)))
        if path.name.endswith(PICTURE):
            read_geometry(path)
        else:
            read_volume(path, most_bytes)
    except MismatchError as error:
        return CheckedLabel(warnings=[str(error)])
    return CheckedLabel()


def check_label(
    image: Geometry,
    path: Path,
    here: Names,
    *,
    names: Mapping[int, str] | None = None,
    annotated: Sequence[str] | None = None,
    write_to: Path | None = None,
    flat: bool = False,
) -> CheckedLabel:
    """Read a label and say what it holds; what does not fit its image or the experiment is told, not raised.

    Args:
        image: The image's grid.
        path: The label's file.
        here: What its values mean to those who learn from it; without a name nobody does yet, and any value may mean
            something.
        names: What the file's values mean, such as Slicer's `label_info`; default: what the file says.
        annotated: Names that the label speaks about; default: those it names, else all.
        write_to: Where to write it for a bundle host: NIfTI on the image's grid, in the experiment's indices.
            Nothing is written for a label in quarantine.
        flat: Whether it is written with two axes, as pictures are read there.

    Raises:
        InvalidRequestError: If the bytes cannot be read at all.
    """
    try:
        label = read_label(path, image)
        mapped = map_label(label, here, names=names, annotated=annotated)
    except MismatchError as error:
        return CheckedLabel(quarantine=str(error), warnings=[str(error)])
    if write_to is not None:
        write_nifti(Volume(mapped.array[..., 0] if flat else mapped.array, image.affine), write_to)
    return CheckedLabel(
        values=list(mapped.values),
        annotated=list(mapped.annotated),
        names=dict(mapped.names),
        warnings=list(mapped.warnings),
        empty=not mapped.values,
        automatic=label.automatic,
    )
