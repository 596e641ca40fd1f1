"""What a round measures, what it does not measure again, and what it says of it."""

import pytest

from infra.adapters.catalog.tables import Dataset, Experiment, ExperimentDataset, Image, ModelVersion
from infra.adapters.catalog.tables.base import new_id
from tasks.publishing.first import publish_first
from tests.rounds_in_memory import Ward


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: what is different on PostgreSQL has tests of its own."""
    return sqlite_url


def test_unchanged_cases_of_the_published_version_are_not_run_again(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.4, 0.5, 0.6)
    first, second = ward.round("auto", min_cases=2), ward.round("auto", min_cases=2)

    start, one, two = ward.versions()
    evaluated = {str(ward.images["e1"]), str(ward.images["e2"])}
    assert [{version: set(cases) for version, cases in asked.items()} for asked in ward.hosts.asked] == [
        {start: evaluated, one: evaluated},
        {two: evaluated},
    ]
    assert (first.scores_reused, second.scores_reused) == (0, 2)
    assert second.published is not None
    assert [second.published.mean, second.key_metric] == pytest.approx([0.5, 0.6])


def test_a_corrected_evaluation_label_is_measured_again(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.4, 0.5, 0.6)
    ward.round("auto", min_cases=2)
    ward.label("e2", drawn=3)

    assert ward.round("auto", min_cases=2).scores_reused == 1

    _, one, two = ward.versions()
    asked = {version: set(cases) for version, cases in ward.hosts.asked[1].items()}
    assert asked == {one: {str(ward.images["e2"])}, two: {str(ward.images["e1"]), str(ward.images["e2"])}}


def test_each_new_training_label_is_predicted_by_the_published_version_once_over_rounds(ward: Ward) -> None:
    ward.label("t1", "t2", "e1")
    ward.by_number(0.2, 0.5, 0.6, 0.7)
    first = ward.round("auto")
    ward.label("t3", "t1", drawn=2)
    second = ward.round("auto")
    third = ward.round("auto")

    assert [result.metric_kind for result in (first, second, third)] == ["prequential"] * 3
    assert [(result.metric_cases, result.key_metric) for result in (first, second, third)] == [
        (2, pytest.approx(0.2)),
        (1, pytest.approx(0.5)),
        (0, None),
    ]
    assert second.prequential_mean == pytest.approx((0.2 + 0.2 + 0.5) / 3)
    assert (third.prequential_cases, third.prequential_mean) == (3, second.prequential_mean)
    start, one, *_ = ward.versions()
    assert set(ward.hosts.asked[0][start]) == {str(ward.images[name]) for name in ("t1", "t2", "e1")}
    assert set(ward.hosts.asked[1][one]) == {str(ward.images["t3"])}


def test_from_enough_evaluation_cases_on_the_hold_out_is_the_metric(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.2, 0.5)

    result = ward.round(min_cases=2)

    assert (result.metric_kind, result.metric_name, result.metric_cases) == ("holdout", "mean_dice", 2)
    assert (result.key_metric, result.challenger and result.challenger.mean) == (0.5, 0.5)


def test_unedited_model_output_evaluates_nothing(ward: Ward) -> None:
    ward.label("t1", "t2", "e1")
    ward.label("t3", "e2", unedited=True)
    held = ward.start()
    ward.run(held)

    evaluation = ward.evaluation(held)
    assert evaluation.held_out == [str(ward.images["e1"])]
    assert set(evaluation.prequential) == {str(ward.images["t1"]), str(ward.images["t2"])}
    assert len(ward.snapshot(held).side("train")) == 3


def test_a_class_that_neither_has_is_left_out_of_the_case(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    empty = str(ward.images["e1"])
    ward.hosts.score = lambda _version, case: {"liver": None} if case == empty else {"liver": 0.5}

    result = ward.round(min_cases=1)

    assert (result.metric_cases, result.key_metric) == (1, 0.5)
    assert result.verdict is not None
    assert result.verdict.cases == 1


def test_without_evaluation_cases_the_challenger_proves_itself_on_training_cases(ward: Ward) -> None:
    ward.label("t1", "t2")
    ward.by_number(0.2, 0.5, None)

    first, second = ward.round(), ward.round()

    assert first.verdict is not None
    assert (first.decision, first.verdict.rule) == ("published", "unproven")
    assert second.verdict is not None
    assert (second.decision, second.verdict.rule) == ("kept_back", "unproven")
    assert "empty" in second.reason


def test_a_cohort_is_a_data_set_s_tag_else_modality_and_manufacturer(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2", "e3")
    with ward.parts.catalog.write() as session:
        session.get_one(Image, ward.images["e1"]).meta = {"Modality": "CT", "Manufacturer": "Acme"}
        session.get_one(Image, ward.images["e2"]).meta = {"Modality": "MR", "Manufacturer": "UNK"}
    named = {cohort.cohort: cohort.cases for cohort in ward.round("auto").cohorts}
    with ward.parts.catalog.write() as session:
        session.get_one(Dataset, ward.dataset).shown = {"tags": ["north", "2024"]}

    assert named == {"CT Acme": 1, "MR": 1, "unknown": 1}
    assert [(cohort.cohort, cohort.cases) for cohort in ward.round("auto").cohorts] == [("north", 3)]


def test_forgetting_is_the_best_that_was_served_minus_the_challenger_now(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    with ward.parts.catalog.write() as session:
        session.get_one(Image, ward.images["e1"]).meta = {"Modality": "CT"}
        session.get_one(Image, ward.images["e2"]).meta = {"Modality": "MR"}
    mr = str(ward.images["e2"])
    table = [(0.1, 0.1), (0.8, 0.5), (0.6, 0.6), (0.5, 0.9)]
    ward.hosts.score = lambda version, case: {"liver": table[ward.versions().index(version)][case == mr]}

    results = [ward.round("auto", min_cases=2) for _ in range(3)]

    assert [cohort.cohort for cohort in results[-1].cohorts] == ["CT", "MR"]
    assert [cohort.best_earlier for cohort in results[-1].cohorts] == pytest.approx([0.8, 0.6])
    assert [cohort.forgetting for cohort in results[-1].cohorts] == pytest.approx([0.3, -0.3])
    assert results[-1].cohorts[0].forgetting_per_label == {"liver": pytest.approx(0.3)}
    assert [result.forgetting for result in results] == pytest.approx([-0.4, 0.2, 0.3])


def test_what_starts_from_trained_weights_has_not_new_what_those_have_seen(ward: Ward) -> None:
    ward.label("t1", "t2", "e1")
    ward.round("auto")
    with ward.parts.catalog.write() as session:
        first = session.get_one(Experiment, ward.experiment)
        child = Experiment(
            id=new_id(),
            org=first.org,
            name="child",
            arch="a",
            bundle_id=first.bundle_id,
            labels=first.labels,
            lineage=first.lineage,
        )
        session.add(child)
        session.flush()
        session.add(ExperimentDataset(experiment_id=child.id, use="train", dataset_id=ward.dataset))
        publish_first(session, child, actor="ann", source=session.get_one(ModelVersion, ward.versions()[-1]))
    ward.experiment = child.id
    ward.label("t3", "e2")
    held = ward.start()
    ward.run(held)

    rows = {row.image: row for row in ward.snapshot(held).rows}
    assert {name for name in ("t1", "t2", "t3") if rows[ward.images[name]].fresh} == {"t3"}
    assert {rows[ward.images[name]].side for name in ("e1", "e2")} == {"evaluate"}
    assert ward.hosts.trained[-1].weights is not None
