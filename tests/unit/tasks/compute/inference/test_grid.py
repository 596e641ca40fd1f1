"""Label maps come back to an image's own grid."""

import numpy as np
import pytest
from monai.data import MetaTensor
from monai.transforms import Orientation, Spacing

from tasks.compute.inference.grid import Grid, resample_labels

SHAPE = (7, 11, 5)
AFFINE = np.array([[0, 0, -2.5, 10], [1.2, 0, 0, -4], [0, -0.9, 0, 7], [0, 0, 0, 1]])


def labels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)


@pytest.mark.parametrize("code", ["RAS", "LPS", "SAR", "PIR"])
def test_an_asymmetric_volume_comes_back_exactly_from_another_orientation(code: str) -> None:
    original = labels()
    turned = Orientation(axcodes=code, labels=None)(MetaTensor(original[None], affine=AFFINE))
    back = resample_labels(turned[0].numpy().astype(np.uint8), turned.affine.numpy(), Grid(SHAPE, AFFINE))
    assert np.array_equal(back, original)


def test_a_finer_grid_gives_back_what_was_there() -> None:
    original = np.kron(labels(), np.ones((2, 2, 2), np.uint8))
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    finer = Spacing((0.5, 0.5, 0.5), mode="nearest")(MetaTensor(original[None].astype(np.float32), affine=affine))
    back = resample_labels(finer[0].numpy().astype(np.uint8), finer.affine.numpy(), Grid(original.shape, affine))
    assert np.array_equal(back, original)


def test_voxels_outside_the_predicted_part_are_background() -> None:
    part = np.ones((3, 3, 3), np.uint8)
    affine = np.eye(4)
    affine[:3, 3] = 2
    whole = resample_labels(part, affine, Grid((6, 6, 6), np.eye(4)))
    assert whole.sum() == 27
    assert whole[2:5, 2:5, 2:5].all()


def test_an_oblique_grid_is_followed() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    ball = np.zeros((21, 21, 21), np.uint8)
    ball[5:16, 5:16, 5:16] = 1
    there = resample_labels(ball, np.eye(4), Grid((40, 40, 21), turn))
    back = resample_labels(there, turn, Grid(ball.shape, np.eye(4)))
    inside = back[7:14, 7:14, 5:16]
    assert there.any()
    assert inside.mean() > 0.5
