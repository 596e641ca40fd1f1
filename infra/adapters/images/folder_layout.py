"""How a folder's labels are laid out: whose a label is, told by its path.

labels/<image id>.<ending>          the user's; 3D Slicer's `.seg.nrrd`, too
labels/<tag>/<image id>.<ending>    the user's as MONAI Label keeps them: `final`, `version_1` …; `original` are models'
teachback/labels/<image id>/<label id>.<ending>   ours
"""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

from infra.adapters.images.base import PICTURES
from infra.adapters.images.metaimage import SPLIT, WHOLE

VOLUMES = (".nii.gz", ".nii", ".nrrd", WHOLE)
_IMAGES = (*VOLUMES, SPLIT, *PICTURES)
_LABELS = (*_IMAGES, ".dcm", ".json")
IMAGE_ENDINGS = (*_IMAGES, *map(str.upper, _IMAGES))
LABEL_ENDINGS = (*_LABELS, *map(str.upper, _LABELS))
SLICER = ".seg"
"""What 3D Slicer puts before a label's ending."""
THEIRS = PurePosixPath("labels")
OURS = PurePosixPath("teachback/labels")
FINAL = "final"
_ORIGINAL = "original"
_TAG = re.compile(r"final|original|version_\d{1,9}")


class Reading(NamedTuple):
    """What a label's path may mean: the image that it speaks about, and under which tag."""

    image: str
    tag: str = FINAL

    @property
    def automatic(self) -> bool:
        """Whether a program made all of it."""
        return self.tag == _ORIGINAL


def readings_of(key: PurePosixPath) -> list[Reading]:
    """Return what a label's key may mean, the first of which that names an image counts; none if it is no label's."""
    ending = next((ending for ending in LABEL_ENDINGS if key.name.endswith(ending)), None)
    if ending is None:
        return []
    if key.is_relative_to(OURS):
        return [Reading(str(key.parent.relative_to(OURS)))]
    if not key.is_relative_to(THEIRS):
        return []
    stem = str(key.relative_to(THEIRS)).removesuffix(ending)
    stems = list(dict.fromkeys([stem, stem.removesuffix(SLICER)]))
    tagged = [(image, tag) for tag, _, image in (each.partition("/") for each in stems) if _TAG.fullmatch(tag)]
    return [*map(Reading, stems), *(Reading(image, tag) for image, tag in tagged if image)]


def is_image_key(key: str) -> bool:
    """Say whether an image may have this id: what stands among the labels is none."""
    return PurePosixPath(key).parts[:1] not in {THEIRS.parts, OURS.parts[:1]}
