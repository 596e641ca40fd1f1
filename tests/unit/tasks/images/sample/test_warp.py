"""Warps and scanner effects: repeatable, alike for image and labels, as strong as they say."""

import numpy as np
import pytest

from tasks.images.sample.warp import Look, Warp, scan, smooth_noise, warp_case, warp_points

STILL = Warp(rotation_deg=0, shear=0, shift_mm=0, bend_mm=0)
PLAIN = Look(bias=0, gamma=0, noise=0)


def ball(size: int = 24, radius: float = 8) -> np.ndarray:
    distance = np.linalg.norm(np.indices((size, size, size)) - (size - 1) / 2, axis=0)
    return np.where(distance < radius, np.float32(1), np.float32(0))


def test_a_warp_of_no_strength_changes_nothing() -> None:
    image = ball()
    warped, labels = warp_case(image, image.astype(np.uint8), seed=(1,), spacing_mm=3, warp=STILL, look=PLAIN)

    assert warped == pytest.approx(image, abs=1e-5)
    assert np.array_equal(labels, image.astype(np.uint8))


def test_image_and_labels_move_together() -> None:
    image = ball()
    warped, labels = warp_case(image, image.astype(np.uint8), seed=(1, 2), spacing_mm=3, look=PLAIN)

    assert not np.array_equal(labels, image.astype(np.uint8))
    assert np.mean((warped > 0.5) == (labels == 1)) > 0.99


def test_a_shift_is_in_millimetres_whatever_the_voxels() -> None:
    shift = Warp(rotation_deg=0, shear=0, shift_mm=6, bend_mm=0)
    fine, coarse = (
        warp_points((8, 8, 8), np.random.default_rng(3), spacing_mm, shift)[:, 0, 0, 0] * spacing_mm
        for spacing_mm in (1.5, 3.0)
    )

    assert fine == pytest.approx(coarse, rel=1e-5)
    assert np.abs(fine).max() > 0.5


def test_a_rotation_keeps_lengths() -> None:
    turn = Warp(rotation_deg=20, shear=0, shift_mm=0, bend_mm=0)
    points = warp_points((10, 11, 12), np.random.default_rng(3), 3, turn)

    for axis in range(3):
        assert np.linalg.norm(np.diff(points, axis=axis + 1), axis=0) == pytest.approx(1, rel=1e-4)
    assert not np.allclose(points, np.indices((10, 11, 12)))


def test_smooth_noise_has_the_deviation_it_promises_and_no_jumps() -> None:
    fields = [smooth_noise((40, 40, 40), np.random.default_rng(seed), 8) for seed in range(8)]

    assert np.std(fields) == pytest.approx(1, abs=0.15)
    assert max(np.abs(np.diff(field, axis=0)).max() for field in fields) < 0.8


def test_noise_in_air_is_positive_as_in_magnitude_images() -> None:
    noisy = scan(np.zeros((20, 20, 20), np.float32), np.random.default_rng(1), 3, Look(bias=0, gamma=0, noise=0.1))

    assert noisy.min() >= 0
    # The mean of the Rayleigh distribution.
    assert noisy.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.05)
