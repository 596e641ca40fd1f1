"""Where boxes lie: world millimetres, LPS, here; what a bundle's transforms take and make, there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.data.box_utils import StandardMode, convert_box_mode
from numpy.typing import NDArray

from tasks.compute.loader.config import DETECTOR_OPS, Config

Corners = NDArray[np.float64]
"""Shape (n, 6): x1, y1, z1, x2, y2, z2, each box from its smaller to its larger corner."""
_LPS = np.array([-1.0, -1.0, 1.0])
_TO_IMAGE, _TO_CORNERS = "AffineBoxToImageCoordinated", "ConvertBoxToStandardModed"
_KEYS = re.compile(r"set_target_keys\(box_key='(\w+)', label_key='(\w+)'\)")
NO_WORLD = f"Its training does not take boxes in world coordinates ({_TO_IMAGE})"


@dataclass(frozen=True)
class Convention:
    """How a bundle's list of data gives boxes in world millimetres.

    Attributes:
        mode: MONAI's name of the order of their numbers, such as `xyzxyz` or `cccwhd`.
        lps: Whether x and y grow to the left and to the back, as here; else to the right and to the front.
    """

    mode: str
    lps: bool

    def of(self, corners: Corners) -> NDArray[np.float32]:
        """Return boxes as the bundle's transforms take them, shape (n, 6)."""
        placed = corners if self.lps else turned(corners)
        converted = convert_box_mode(placed, src_mode=StandardMode, dst_mode=self.mode)
        return np.asarray(converted, dtype=np.float32)


def convention_of(training: Config) -> Convention | None:
    """Return what a training configuration says of its boxes; None if they are no world coordinates."""
    found = {str(each["_target_"]).rpartition(".")[2]: each for each in _components(training.raw("train"))}
    if _TO_IMAGE not in found:
        return None
    mode = found.get(_TO_CORNERS, {}).get("mode", "xyzxyz")
    return Convention(str(mode), lps=found[_TO_IMAGE].get("affine_lps_to_ras") is True)


@dataclass(frozen=True)
class BoxKeys:
    """Under which keys a bundle's transforms take boxes and their classes, and in which convention."""

    box: str
    label: str
    convention: Convention


def keys_of(training: Config) -> BoxKeys | None:
    """Return how a bundle takes boxes; None if its training takes none in world coordinates."""
    convention = convention_of(training)
    found = _KEYS.search(str(training.raw(DETECTOR_OPS)))
    box, label = (found[1], found[2]) if found else ("box", "label")
    return BoxKeys(box, label, convention) if convention else None


def turned(corners: Corners) -> Corners:
    """Return boxes in LPS as boxes in RAS, and back."""
    return _sorted(corners.reshape(-1, 2, 3) * _LPS)


def in_world(corners: Corners, affine: NDArray[np.float64]) -> Corners:
    """Return boxes in an image's voxels as boxes in LPS, corner by corner as MONAI does.

    Args:
        corners: In indices (i, j, k).
        affine: 4 x 4, index → RAS mm, as MONAI has it.
    """
    ras = corners.reshape(-1, 2, 3) @ affine[:3, :3].T + affine[:3, 3]
    return _sorted(ras * _LPS)


def _sorted(ends: NDArray[np.float64]) -> Corners:
    return np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)


def _components(written: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(written, Mapping):
        if "_target_" in written:
            yield written
        for part in written.values():
            yield from _components(part)
    elif isinstance(written, list):
        for part in written:
            yield from _components(part)
