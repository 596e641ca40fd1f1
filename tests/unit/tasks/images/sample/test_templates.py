"""The template heads: what is labelled lies where anatomy says."""

import numpy as np

from tasks.images.sample.templates import load_template


def test_tissue_volumes_are_those_of_an_adult_brain() -> None:
    template = load_template("mni152", 3)
    millilitres = {value: (template.labels == value).sum() * 27 / 1000 for value in template.names}

    assert 600 < millilitres[1] + millilitres[3] < 1200
    assert 400 < millilitres[2] < 800
    assert 80 < millilitres[3] < 250


def test_the_cerebellum_lies_low_behind_and_on_both_sides() -> None:
    template = load_template("mni152", 3)
    i, j, k = (np.argwhere(template.labels == 3).mean(axis=0) @ template.affine[:3, :3] + template.affine[:3, 3]).T

    assert abs(i) < 5  # millimetres from the midline
    assert 45 < j < 80  # behind the origin: LPS counts to the back
    assert -50 < k < -20  # below it


def test_cerebellar_grey_matter_is_as_bright_as_the_rest_of_it() -> None:
    template = load_template("mni152", 3)
    cerebral, cerebellar, white = (np.median(template.image[template.labels == value]) for value in (1, 3, 2))

    assert abs(cerebral - cerebellar) < 0.5 * (white - cerebral)


def test_the_field_of_view_is_the_same_at_every_spacing() -> None:
    assert load_template("mni152", 3).image.shape == (60, 72, 60)
    assert load_template("mni152", 6).image.shape == (30, 36, 30)
