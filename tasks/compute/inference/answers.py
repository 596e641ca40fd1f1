"""What a network says of an image, as what is written for whoever asked."""

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from configs.wire.answers import BoxesAnswer, ClassAnswer
from tasks.compute.inference.grid import Grid, Labels


@dataclass(frozen=True)
class LabelMap:
    """A label index per voxel, on the image's own grid; `score`: how undecided the network was, 0..1, where known."""

    labels: Labels
    grid: Grid
    score: float | None

    def write(self, path: Path) -> Path:
        """Write it as uint8 NIfTI, whole or not at all; return the file."""
        image = nib.Nifti1Image(self.labels, self.grid.affine, dtype=np.uint8)
        image.header.set_xyzt_units("mm")
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        nib.save(image, temporary)
        temporary.replace(path)
        return path


@dataclass(frozen=True)
class Structured:
    """An answer that is no label map; `score` as above."""

    said: ClassAnswer | BoxesAnswer
    score: float | None

    def write(self, path: Path) -> Path:
        """Write it as JSON, whole or not at all; return the file, *path* with that ending."""
        target = path.with_name(f"{path.name.split('.')[0]}.json")
        temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
        temporary.write_text(self.said.model_dump_json(by_alias=True))
        return temporary.replace(target)
