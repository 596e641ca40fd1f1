"""The gate's rule, case by case."""

import pytest

from configs.specs.annotation import GateSpec
from tasks.publishing.gate import CaseScore, PairedCase, bootstrap_lower_bound, judge

SPEC = GateSpec()


def _score(value: float | None, *, empty: bool = False, finite: bool = True, **labels: float) -> CaseScore:
    return CaseScore(per_label=labels or {"liver": value}, mean=value, empty=empty, finite=finite)


def _pairs(published: list[float], challenger: list[float]) -> list[PairedCase]:
    return [
        PairedCase(case=str(number), published=_score(before), challenger=_score(after))
        for number, (before, after) in enumerate(zip(published, challenger, strict=True))
    ]


def test_a_challenger_that_is_better_on_every_case_is_published() -> None:
    verdict = judge("gate", SPEC, _pairs([0.5] * 5, [0.6] * 5), [])

    assert (verdict.outcome, verdict.rule) == ("publish", "paired evidence")
    assert verdict.mean_difference == pytest.approx(0.1)


def test_a_mean_that_does_not_rise_keeps_the_challenger_back() -> None:
    verdict = judge("gate", SPEC, _pairs([0.6] * 6, [0.6] * 6), [])

    assert verdict.outcome == "kept_back"
    assert "does not rise" in verdict.reason


def test_a_gain_that_rests_on_one_case_is_not_enough() -> None:
    verdict = judge("gate", SPEC, _pairs([0.5] * 6, [0.9, 0.45, 0.45, 0.45, 0.45, 0.45]), [])

    assert verdict.outcome == "kept_back"
    assert "lower bound" in verdict.reason


def test_a_label_that_falls_by_more_than_a_twentieth_keeps_the_challenger_back() -> None:
    pairs = [
        PairedCase(
            case=str(number),
            published=_score(0.5, liver=0.4, spleen=0.6),
            challenger=_score(0.6, liver=0.7, spleen=0.5),
        )
        for number in range(5)
    ]

    verdict = judge("gate", SPEC, pairs, [])

    assert verdict.outcome == "kept_back"
    assert verdict.reason == "spleen falls by 0.100, more than 0.05"


def test_an_empty_prediction_keeps_the_challenger_back_however_good_the_rest_is() -> None:
    pairs = _pairs([0.1] * 6, [0.9] * 6)
    pairs[0] = pairs[0].model_copy(update={"challenger": _score(0.0, empty=True)})

    assert judge("gate", SPEC, pairs, []).outcome == "kept_back"


def test_a_worse_challenger_is_kept_back_on_two_cases_too() -> None:
    verdict = judge("gate", SPEC, _pairs([0.6, 0.6], [0.5, 0.65]), [])

    assert (verdict.outcome, verdict.rule) == ("kept_back", "weak evidence")


def test_an_equal_mean_on_few_cases_is_published_as_weak_evidence() -> None:
    verdict = judge("gate", SPEC, _pairs([0.6, 0.6], [0.5, 0.7]), [])

    assert (verdict.outcome, verdict.rule) == ("publish", "weak evidence")


def test_on_few_cases_an_empty_prediction_counts_by_its_score_alone() -> None:
    pairs = _pairs([0.1, 0.1], [0.9, 0.0])
    pairs[1] = pairs[1].model_copy(update={"challenger": _score(0.0, empty=True)})

    assert judge("gate", SPEC, pairs, []).outcome == "publish"
    pairs[1] = pairs[1].model_copy(update={"challenger": _score(0.0, finite=False)})
    assert judge("gate", SPEC, pairs, []).outcome == "kept_back"


def test_the_line_for_people_has_rule_reason_and_numbers() -> None:
    assert judge("gate", SPEC, _pairs([0.5] * 5, [0.6] * 5), []).told() == (
        "paired evidence: better on 5 paired cases (mean 0.5000 -> 0.6000 on 5 cases, lower bound of the gain +0.1000)"
    )
    assert judge("auto", SPEC, [], []).told() == "every finished challenger is published"


def test_without_evaluation_cases_sound_predictions_on_training_cases_decide() -> None:
    assert judge("gate", SPEC, [], [_score(0.3)]).rule == "unproven"
    assert judge("gate", SPEC, [], [_score(0.3)]).outcome == "publish"
    assert judge("gate", SPEC, [], [_score(0.3), _score(None, finite=False)]).outcome == "kept_back"
    assert judge("gate", SPEC, [], []).outcome == "kept_back"


def test_a_challenger_that_predicts_nothing_measurable_is_not_left_out_of_the_comparison() -> None:
    pairs = _pairs([0.1] * 5, [0.9] * 5)
    pairs[2] = pairs[2].model_copy(update={"challenger": _score(None, finite=False)})

    assert judge("gate", SPEC, pairs, []).cases == 5
    assert judge("gate", SPEC, pairs, []).outcome == "kept_back"


def test_the_policies_without_a_rule_say_so() -> None:
    worse = _pairs([0.6] * 5, [0.1] * 5)

    assert judge("auto", SPEC, worse, []).outcome == "publish"
    assert judge("review", SPEC, worse, []).outcome == "review"
    assert judge("none", SPEC, worse, []).outcome == "kept_back"


def test_the_bound_of_equal_differences_is_the_difference() -> None:
    assert bootstrap_lower_bound([0.2] * 5, 0.95) == pytest.approx(0.2)


@pytest.mark.parametrize(("confidence", "bound"), [(0.95, 0.0), (0.75, 0.0), (0.6, 0.2), (0.3, 0.2), (0.2, 0.4)])
def test_the_bound_of_one_gain_in_five_is_a_quantile_of_the_binomial(confidence: float, bound: float) -> None:
    # A resample's mean is K/5 with K ~ B(5, 1/5): P(K=0) = 0.328, P(K<=1) = 0.737, P(K<=2) = 0.942.
    assert bootstrap_lower_bound([1.0, 0.0, 0.0, 0.0, 0.0], confidence) == pytest.approx(bound)


@pytest.mark.parametrize(("loss", "bound", "outcome"), [(0.0133, -0.004, "publish"), (0.0167, -0.006, "kept_back")])
def test_the_bound_may_lie_less_than_five_thousandths_below_zero(loss: float, bound: float, outcome: str) -> None:
    # A resample has K losses, K ~ B(5, 1/5), and P(K >= 3) = 0.058: the bound is the mean of two gains, three losses.
    verdict = judge("gate", SPEC, _pairs([0.5] * 5, [0.51] * 4 + [0.5 - loss]), [])

    assert verdict.lower_bound == pytest.approx(bound, abs=1e-4)
    assert verdict.outcome == outcome


@pytest.mark.parametrize(("fall", "outcome"), [(0.049, "publish"), (0.051, "kept_back")])
def test_a_label_may_fall_by_a_twentieth(fall: float, outcome: str) -> None:
    before, after = _score(0.5, liver=0.4, spleen=0.6), _score(0.6, liver=0.7, spleen=0.6 - fall)
    pairs = [PairedCase(case=str(number), published=before, challenger=after) for number in range(5)]

    assert judge("gate", SPEC, pairs, []).outcome == outcome


def test_five_cases_are_enough_and_four_are_weak_evidence() -> None:
    assert [judge("gate", SPEC, _pairs([0.5] * count, [0.6] * count), []).rule for count in (4, 5)] == [
        "weak evidence",
        "paired evidence",
    ]
