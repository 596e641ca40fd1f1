"""The demo's images, with the truth that only its annotator knows, and what needs no model to be scored."""

import shutil
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from tasks.images.sample import write_cases
from tasks.images.sample.baselines import dice, template_labels, threshold_labels
from tasks.images.volume import Volume, read_volume
from tasks.labels.forms.read import read_label

LabelMap = npt.NDArray[np.integer]
ENDING = ".nii.gz"


@dataclass(frozen=True)
class Cases:
    """Made-up patients on disk; an image's id is its path under `images` without ending.

    Attributes:
        images: Folder that the data set names.
        truth: Folder of the labels, where no data set looks.
        labels: Label name by value.
    """

    images: Path
    truth: Path
    labels: Mapping[int, str]

    def ids(self) -> list[str]:
        """Ids of all images."""
        paths = sorted(self.images.glob(f"sample-*/*{ENDING}"))
        return [str(path.relative_to(self.images)).removesuffix(ENDING) for path in paths]

    def truth_file(self, image: str) -> Path:
        """The true label of an image."""
        return self.truth / f"{image}{ENDING}"

    def image(self, image: str) -> Volume:
        """The image itself."""
        return read_volume(self.images / f"{image}{ENDING}")

    def true_labels(self, image: str) -> LabelMap:
        """The truth on the image's grid."""
        return self.read(image, self.truth_file(image))

    def read(self, image: str, label_file: Path) -> LabelMap:
        """Read a label file onto the image's grid, by its affine."""
        return read_label(label_file, self.image(image).geometry).array

    def score(self, image: str, predicted: LabelMap) -> "Score":
        """Compare a label map on the image's grid with the truth."""
        truth = self.true_labels(image)
        return Score({name: dice(truth, predicted, label=value) for value, name in self.labels.items()})

    def baseline(self, image: str) -> "Score":
        """Score thresholds on intensity alone (Otsu), which is what needs no learning."""
        return self.score(image, threshold_labels(self.image(image).array))

    def template(self, image: str) -> "Score":
        """Score the labels of the unwarped template, copied."""
        volume = self.image(image)
        shape = volume.geometry.shape
        return self.score(image, template_labels(volume.affine, (shape[0], shape[1], shape[2])))


@dataclass(frozen=True)
class Score:
    """Dice by label name, 0 to 1; NaN where neither map has the label."""

    per_label: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean over the labels."""
        return float(np.nanmean(list(self.per_label.values())))

    @classmethod
    def over(cls, scores: Iterable["Score"]) -> "Score":
        """Mean over cases, label by label."""
        rows = [score.per_label for score in scores]
        return cls({name: statistics.fmean(row[name] for row in rows) for name in rows[0]})


class _Made(BaseModel):
    labels: dict[int, str]
    count: int


def make_cases(folder: Path, *, count: int, first: int = 1, labelled: bool = False) -> Cases:
    """Write `count` cases under *folder*, or add what is missing to those of an earlier run.

    Args:
        folder: Gets `images`, `truth` and `cases.json`.
        count: Number of patients.
        first: Number of the first one.
        labelled: Put the truth among the images too, where a data set finds it as labels that exist already.
    """
    note = folder / "cases.json"
    made = _Made.model_validate_json(note.read_bytes()) if note.exists() else _Made(labels={}, count=0)
    images, truth = folder / "images", folder / "truth"
    if made.count < count:
        written = write_cases(images, truth, count=count - made.count, seed=0, first=first + made.count)
        made = _Made(labels=written.labels, count=count)
        note.write_text(made.model_dump_json())
    if labelled:
        shutil.copytree(truth, images / "labels", dirs_exist_ok=True)
    return Cases(images, truth, made.labels)
