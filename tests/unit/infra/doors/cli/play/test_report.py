"""The demo's verdict and table."""

import pytest
from rich.console import Console

from infra.doors.cli.play.cases import Score
from infra.doors.cli.play.report import Comparison, Round, comparison_table, rounds_table, summary


def compared(*, start: float, final: float, baseline: float, template: float) -> Comparison:
    scores = [Score({"a": value, "b": value}) for value in (start, final, baseline, template)]
    return Comparison(5, *scores)


ROUND = Round.model_validate(
    {
        "round": 1,
        "status": "Done",
        "labels": 8,
        "key_metric": 0.18,
        "metric_kind": "prequential",
        "metric_cases": 5,
        "published": {"mean": 0.18, "per_label": {"a": 0.1, "b": None}},
        "challenger": None,
        "decision": "published",
        "train_seconds": 30.25,
        "start_seconds": None,
        "something_new": 1,
    }
)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"start": 0.1, "final": 0.7, "baseline": 0.5, "template": 0.6}, ""),
        ({"start": 0.1, "final": 0.55, "baseline": 0.5, "template": 0.6}, "0.600"),
        ({"start": 0.1, "final": 0.55, "baseline": 0.6, "template": 0.5}, "0.600"),
        ({"start": 0.8, "final": 0.7, "baseline": 0.5, "template": 0.6}, "did not rise"),
    ],
)
def test_the_demo_fails_unless_the_model_learned_and_beats_what_needs_none(
    numbers: dict[str, float], said: str
) -> None:
    failure = compared(**numbers).failure()
    assert bool(failure) == bool(said)
    assert said in failure


def test_the_summary_has_what_programs_read() -> None:
    found = summary([ROUND], compared(start=0.1, final=0.7, baseline=0.5, template=0.6))
    assert (found.baseline, found.template, found.final) == (0.5, 0.6, 0.7)
    assert found.rounds[0].published
    assert found.rounds[0].start_seconds is None


def test_the_tables_show_what_is_known_and_a_dash_for_the_rest() -> None:
    console = Console(width=200, record=True, file=None)
    console.print(rounds_table([ROUND], ["a", "b"]))
    console.print(comparison_table(compared(start=0.1, final=0.7, baseline=0.5, template=0.6), ["a", "b"]))
    text = console.export_text()
    assert "prequential (5)" in text
    assert "0.180" in text
    assert "30.2" in text
    assert "template's labels, copied" in text
