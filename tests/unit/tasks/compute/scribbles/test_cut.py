"""What scribbles on a noisy image come to."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from configs.wire.scribbles import BACKGROUND, FOREGROUND, ScribbleMethod
from tasks.compute.scribbles.cut import MOST_NODES, cut
from tasks.compute.scribbles.likelihood import LIKELIHOODS, by_histogram

SPACING = np.array([1.0, 1.0, 2.0])
Made = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]


def _made(shape: tuple[int, int, int]) -> Made:
    """Return a noisy body in the middle, where it is, and a stroke in it and one beside it."""
    at = np.indices(shape) - np.asarray(shape).reshape(3, 1, 1, 1) / 2
    body = np.linalg.norm(at / np.asarray(shape).reshape(3, 1, 1, 1), axis=0) < 0.3
    image = (100 * body + np.random.default_rng(1).normal(0, 60, shape)).astype(np.float32)
    scribbles = np.zeros(shape, np.uint8)
    i, j, k = (size // 2 for size in shape)
    scribbles[i - 5 : i + 5, j : j + 2, k] = FOREGROUND
    scribbles[:, 1:3, k] = BACKGROUND
    return image, body, scribbles


def _likelihood(method: ScribbleMethod, image: NDArray[np.float32], scribbles: NDArray[np.uint8]) -> Any:
    return LIKELIHOODS[method](image, image[scribbles == BACKGROUND], image[scribbles == FOREGROUND])


def _dice(found: NDArray[np.bool_], body: NDArray[np.bool_]) -> float:
    return float(2 * (found & body).sum() / (found.sum() + body.sum()))


@pytest.mark.parametrize("method", ["histogram", "gmm"])
@pytest.mark.parametrize("shape", [(30, 28, 20), (90, 80, 60)])
def test_a_cut_is_nearer_to_the_truth_than_what_is_likely_alone(
    method: ScribbleMethod, shape: tuple[int, int, int]
) -> None:
    image, body, scribbles = _made(shape)
    likelihood = _likelihood(method, image, scribbles)
    found = cut(likelihood, image, scribbles, SPACING)
    assert found.shape == shape
    assert _dice(found, body) > _dice(likelihood > 0.5, body) + 0.05
    assert found[scribbles == FOREGROUND].all()
    assert not found[scribbles == BACKGROUND].any()
    assert np.prod((30, 28, 20)) < MOST_NODES < np.prod((90, 80, 60)), "one goes node by node, the other coarsened"


def test_one_more_stroke_takes_out_what_it_is_drawn_on() -> None:
    image, _, scribbles = _made((30, 28, 20))
    scribbles[10:14, 18:20, 10] = BACKGROUND
    found = cut(_likelihood("histogram", image, scribbles), image, scribbles, SPACING)
    assert not found[10:14, 18:20, 10].any()


def test_a_histogram_says_half_where_it_saw_nothing_and_never_that_it_is_sure() -> None:
    values = np.array([0, 50, 100], np.float32)
    found = by_histogram(values, np.zeros(9, np.float32), np.full(9, 100, np.float32))
    assert found.tolist() == pytest.approx([0.001, 0.5, 0.999])


@pytest.mark.parametrize("method", ["histogram", "gmm"])
def test_a_volume_that_is_looked_at_in_parts_is_one_volume(method: ScribbleMethod) -> None:
    values = np.linspace(0, 100, 3 * 2**19, dtype=np.float32).reshape(3, 2**9, 2**10)
    outside, inside = values[0, :1].ravel(), values[2, -1:].ravel()
    found = LIKELIHOODS[method](values, outside, inside)
    assert found.dtype == np.float32
    assert found.shape == values.shape
    back = LIKELIHOODS[method](values[::-1, ::-1, ::-1], outside, inside)
    assert (found[::-1, ::-1, ::-1] == back).all()
    assert found[0, 0, 0] < 0.5 < found[2, -1, -1]
