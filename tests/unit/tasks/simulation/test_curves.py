"""Area, labels to a target and spread; values by hand."""

import pytest

from tasks.simulation.curves import Curve, Point, Simulated, usual_target


def _curve(strategy: str, *means: float, seed: int = 0) -> Curve:
    """A curve with a point every ten labels."""
    points = [Point(labels=10 * number, mean=mean) for number, mean in enumerate(means, 1)]
    return Curve(strategy=strategy, seed=seed, points=points)


def test_the_area_is_the_mean_height() -> None:
    assert _curve("a", 0.2, 0.6, 0.8).area == pytest.approx((0.4 + 0.7) / 2)
    assert _curve("a", 0.5).area == 0.5


def test_labels_to_a_target_lie_on_the_line_between_two_rounds() -> None:
    curve = _curve("a", 0.2, 0.6, 0.5, 0.9)
    assert curve.labels_to(0.1) == 10
    assert curve.labels_to(0.5) == pytest.approx(17.5), "where it is first reached"
    assert curve.labels_to(0.7) == pytest.approx(35)
    assert curve.labels_to(0.95) is None


def test_a_strategy_is_summed_up_over_its_seeds() -> None:
    curves = [_curve("a", 0.2, 0.8), _curve("a", 0.4, 0.6, seed=1), _curve("b", 0.1, 0.2)]
    assert usual_target(curves) == pytest.approx(0.95 * 0.7)
    found = Simulated(
        dataset="d", experiment="e", metric="mean_dice", pool=20, held_out=2, target=0.7, curves=curves
    ).summaries()
    first, second = found
    assert (first.final.mean, first.final.deviation) == pytest.approx((0.7, 0.2 / 2**0.5))
    assert first.area.mean == pytest.approx(0.5)
    assert first.reached == 1
    assert first.labels_to_target is not None
    assert first.labels_to_target.mean == pytest.approx(10 + 10 * 5 / 6)
    assert (second.final.deviation, second.reached, second.labels_to_target) == (None, 0, None)
