"""A whole round on the sample bundle, step by step, in this process and real bundle hosts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from configs.settings import Settings
from configs.specs.annotation import AnnotationSpec, GateSpec, StopCriteria
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.states import JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import (
    Candidate,
    Dataset,
    Experiment,
    ExperimentDataset,
    Job,
    ModelVersion,
    Organisation,
    Publication,
)
from infra.adapters.catalog.tables.base import new_id
from infra.services.callers import Caller, Role
from infra.services.learning import reruns
from infra.wiring import Parts, open_parts
from tasks.bundles.catalog import register
from tasks.images.sample.write import write_cases
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.imports import import_labels
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.publishing.first import publish_first
from tasks.rounds.jobs.start import start_annotation, start_train
from tasks.rounds.records.result import RoundResult
from tasks.rounds.steps import decide, evaluate, finish, gather, train, work
from tasks.selection.refresh import refresh_scores

ORG = "clinic"


@dataclass
class Clinic:
    """A folder of six cases to label, one of two labelled cases to evaluate on, an experiment and its loop."""

    parts: Parts
    truth: Path
    dataset: str
    experiment: str
    loop: str

    def label(self, count: int, start: int = 1) -> None:
        for number in range(start, start + count):
            key = f"sample-{number:03}/t1"
            save_label(self.parts, self.dataset, key, self.truth / f"{key}.nii.gz", LabelParams(), "ann")

    def round(self) -> Job:
        with self.parts.catalog.read() as session:
            child = jobs.open_child(session, self.loop)
        assert child is not None
        return child

    def run(self, claim: work.Claim) -> None:
        with work.Lease(self.parts, claim) as lease:
            snapshot = gather.gather(self.parts, claim)
            challenger = train.fine_tune(self.parts, claim, lease, snapshot)
            assert challenger is not None
            scores = evaluate.evaluate(self.parts, claim, lease, snapshot, challenger)
            scores = decide.decide(self.parts, claim, lease, snapshot, scores)
            finish.finish(self.parts, claim, snapshot, scores)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    folder = tmp_path_factory.mktemp("clinic")
    settings = Settings(home=folder / "home")
    parts = open_parts(settings)
    parts.catalog.migrate()
    write_cases(folder / "images", folder / "truth", count=6, seed=1)
    write_cases(folder / "held-out", folder / "held-out-truth", count=2, seed=2, first=101)
    (folder / "held-out-truth").rename(folder / "held-out" / "labels")
    bundle = register(parts, str(settings.bundles_dir / "sample"), by="test")
    with parts.catalog.write() as session:
        session.add(Organisation(id=ORG))
        session.flush()
        sets = [
            Dataset(id=new_id(), org=ORG, name=name, spec={"kind": "folder", "url": str(folder / name)})
            for name in ("images", "held-out")
        ]
        experiment = Experiment(
            id=new_id(), org=ORG, name="brain", arch="monai_segmentation", bundle_id=bundle.id, labels=bundle.labels
        )
        experiment.lineage = experiment.id
        session.add_all([*sets, experiment])
        session.flush()
        for use, dataset in zip(("train", "eval"), sets, strict=True):
            session.add(ExperimentDataset(experiment_id=experiment.id, use=use, dataset_id=dataset.id))
        publish_first(session, experiment, actor="test")
    for dataset in sets:
        sync_dataset(parts, dataset.id)
        import_labels(parts, dataset.id)
    spec = AnnotationSpec(
        round_size=2,
        stop_criteria=StopCriteria(max_rounds=2),
        train_spec=TrainSpec(epochs=4),
        gate=GateSpec(min_cases=2),
        publish="auto",
    )
    with parts.catalog.write() as session:
        loop = start_annotation(session, session.get_one(Experiment, experiment.id), spec, actor="ann").id
    yield Clinic(parts, folder / "truth", sets[0].id, experiment.id, loop)
    parts.close()


@pytest.mark.slow
def test_two_rounds_train_are_judged_on_held_out_patients_and_end_the_loop(clinic: Clinic) -> None:
    clinic.label(2)
    first = clinic.round()
    claim = work.claim(clinic.parts, first.id, 1)
    assert claim is not None

    clinic.run(claim)
    clinic.label(2, start=3)
    second = clinic.round()
    claim = work.claim(clinic.parts, second.id, 1)
    assert claim is not None
    clinic.run(claim)

    with clinic.parts.catalog.read() as session:
        rounds = jobs.children(session, clinic.loop)
        loop = session.get_one(Job, clinic.loop)
        experiment = session.get_one(Experiment, clinic.experiment)
        published = session.scalars(select(Publication.seq).order_by(Publication.seq)).all()
        versions = session.scalars(select(ModelVersion).order_by(ModelVersion.number)).all()
    assert [round_.status for round_ in rounds] == [JobStatus.DONE] * 2
    assert loop.status == JobStatus.DONE
    assert published == [1, 2, 3]
    assert experiment.published_version == versions[-1].id
    results = [RoundResult.model_validate(round_.result) for round_ in rounds]
    assert [result.metric_kind for result in results] == ["holdout"] * 2
    assert [(result.training_cases, result.metric_cases) for result in results] == [(2, 2), (4, 2)]
    assert all(result.key_metric is not None for result in results)


@pytest.mark.slow
def test_a_round_that_is_run_again_ends_with_the_same_weights_and_publishes_nothing(clinic: Clinic) -> None:
    with clinic.parts.catalog.read() as session:
        first = jobs.children(session, clinic.loop)[0]
        served = session.get_one(Experiment, clinic.experiment).published_version
    engineer = Caller(org=ORG, subject="eve", name="Eve", role=Role.ENGINEER)
    again = reruns.rerun(clinic.parts, engineer, first.id)
    claim = work.claim(clinic.parts, again, 1)
    assert claim is not None

    clinic.run(claim)

    found = reruns.compare(clinic.parts, engineer, again)
    assert (found.status, found.same_weights) == (JobStatus.DONE, True)
    same = {number.name: number.before == number.after for number in found.numbers if number.name != "train_seconds"}
    assert all(same.values()), found
    with clinic.parts.catalog.read() as session:
        assert session.get_one(Experiment, clinic.experiment).published_version == served


@pytest.mark.slow
def test_a_deliberately_worse_challenger_is_kept_back_on_two_evaluation_cases(clinic: Clinic) -> None:
    """One epoch from random weights, at a rate that changes nothing, against two rounds of training."""
    spec = RoundSpec(train=TrainSpec(epochs=1, learning_rate=1e-9, start_from="base"), publish="gate")
    with clinic.parts.catalog.write() as session:
        experiment = session.get_one(Experiment, clinic.experiment)
        served, job = experiment.published_version, start_train(session, experiment, spec, actor="ann").id
    claim = work.claim(clinic.parts, job, 1)
    assert claim is not None

    clinic.run(claim)

    with clinic.parts.catalog.read() as session:
        result = RoundResult.model_validate(session.get_one(Job, job).result)
        assert session.get_one(Experiment, clinic.experiment).published_version == served
    assert result.verdict is not None
    assert (result.decision, result.verdict.rule, result.verdict.cases) == ("kept_back", "weak evidence", 2)
    assert result.verdict.mean_difference is not None
    assert result.verdict.mean_difference < 0
    assert result.scores_reused == 2, "the served version was a challenger on the same cases before"
    assert result.metric_name == "val_mean_dice"


@pytest.mark.slow
def test_a_finished_step_is_not_done_again_by_a_later_attempt(clinic: Clinic) -> None:
    with clinic.parts.catalog.read() as session:
        done = jobs.children(session, clinic.loop)[0]

    again = work.Claim(job_id=done.id, n=7, holder="someone else")

    assert gather.gather(clinic.parts, again) == done.snapshot


@pytest.mark.slow
def test_scoring_gives_way_to_a_round_that_waits(clinic: Clinic) -> None:
    waiting = Job(org=ORG, experiment_id=clinic.experiment, dataset_id=clinic.dataset, action="train")
    with clinic.parts.catalog.write() as session:
        session.add(waiting)

    assert refresh_scores(clinic.parts, clinic.experiment, clinic.dataset).images == 0

    with clinic.parts.catalog.write() as session:
        session.delete(session.get_one(Job, waiting.id))


@pytest.mark.slow
def test_scores_of_the_published_version_order_what_is_left(clinic: Clinic) -> None:
    scored = refresh_scores(clinic.parts, clinic.experiment, clinic.dataset).images

    assert scored == 2
    assert refresh_scores(clinic.parts, clinic.experiment, clinic.dataset).images == 0
    with clinic.parts.catalog.read() as session:
        rows = session.scalars(select(Candidate)).all()
    assert all(row.score >= 0 for row in rows)
