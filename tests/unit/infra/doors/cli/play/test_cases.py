"""The demo's cases and what needs no model to be scored."""

from pathlib import Path

from infra.doors.cli.play.cases import Score, make_cases


def test_cases_are_made_once_and_added_to(tmp_path: Path) -> None:
    first = make_cases(tmp_path, count=1)
    before = (tmp_path / "images" / "sample-001" / "t1.nii.gz").stat().st_mtime_ns
    again = make_cases(tmp_path, count=2)
    assert first.labels == again.labels
    assert again.ids() == ["sample-001/t1", "sample-002/t1"]
    assert (tmp_path / "images" / "sample-001" / "t1.nii.gz").stat().st_mtime_ns == before


def test_the_truth_scores_one_and_what_learned_nothing_less(tmp_path: Path) -> None:
    cases = make_cases(tmp_path, count=1)
    image = cases.ids()[0]
    assert cases.score(image, cases.true_labels(image)).mean == 1
    assert 0.2 < cases.baseline(image).mean < 0.7
    assert 0.2 < cases.template(image).mean < 0.8


def test_a_label_that_neither_map_has_does_not_count() -> None:
    assert Score({"a": 0.5, "b": float("nan")}).mean == 0.5
