"""The marks to beat: what brightness alone and a copied template reach."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tasks.images.sample import write_cases
from tasks.images.sample.baselines import dice, template_labels, threshold_labels
from tasks.images.sample.templates import load_template

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def test_dice_of_a_map_worked_out_by_hand() -> None:
    reference = np.array([1, 1, 1, 0, 2])
    predicted = np.array([1, 1, 0, 1, 2])

    assert dice(reference, predicted, label=1) == pytest.approx(2 * 2 / 6)
    assert dice(reference, predicted, label=2) == 1
    assert dice(reference, np.zeros(5, np.uint8), label=2) == 0


def test_dice_of_a_label_that_neither_map_holds_is_undefined() -> None:
    assert np.isnan(dice(np.zeros(3, np.uint8), np.zeros(3, np.uint8), label=1))


def test_dice_of_two_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="resample one first"):
        dice(np.zeros((2, 2)).astype(int), np.zeros((2, 3)).astype(int))


def test_thresholds_part_three_brightnesses_exactly_when_nothing_blurs_them() -> None:
    image = np.repeat([0.0, 0.3, 0.6, 1.0], 100).reshape(4, 10, 10)

    assert np.unique(threshold_labels(image, (3, 1, 2))[1]).tolist() == [3]
    assert np.unique(threshold_labels(image, (3, 1, 2))[2]).tolist() == [1]
    assert np.unique(threshold_labels(image, (3, 1, 2))[3]).tolist() == [2]
    assert not threshold_labels(image, (3, 1, 2))[0].any()


def test_an_image_of_air_has_no_labels() -> None:
    assert not threshold_labels(np.zeros((4, 4, 4))).any()


def test_the_copied_template_fits_the_template_itself() -> None:
    template = load_template("mni152", 3)

    assert np.array_equal(template_labels(template.affine, (60, 72, 60)), template.labels)


def test_neither_baseline_comes_near_a_model_that_learned(tmp_path: Path) -> None:
    written = write_cases(tmp_path / "images", tmp_path / "truth", count=6, seed=11)
    threshold, copied = [], []
    for case in written.cases:
        image, truth = nib.load(case.image), np.asarray(nib.load(case.truth).dataobj)
        by_brightness = threshold_labels(np.asarray(image.dataobj))
        by_template = template_labels(RAS_TO_LPS @ image.affine, truth.shape)
        threshold.append([dice(truth, by_brightness, label=value) for value in written.labels])
        copied.append([dice(truth, by_template, label=value) for value in written.labels])

    assert np.mean(threshold) < 0.55
    assert np.mean(threshold, axis=0)[2] == 0  # brightness alone never finds the cerebellum
    assert np.mean(copied) < 0.6
    assert np.mean(copied) > 0.25  # a mark worth beating
