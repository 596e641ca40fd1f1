"""What the end of a round does to its loop, on both databases, without a bundle host."""

from pathlib import Path

import pytest
from sqlalchemy import select

from configs.specs.annotation import AnnotationSpec, StopCriteria
from configs.states import JobStatus, Side
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Dataset, Decision, Experiment, Image, Job, Label, PatientSide
from infra.wiring import Parts
from tasks.rounds.count import notify
from tasks.rounds.jobs.start import start_annotation
from tasks.rounds.steps import finish, train, work
from tasks.rounds.steps.evaluate import Evaluation
from tasks.rounds.steps.gather import gather
from tasks.rounds.steps.train import Trained
from tasks.selection.next_image import next_image
from tests.builders import BUNDLE, World, add_version, build, job, notice

REASON = "no label is on the training side yet"


@pytest.fixture
def world(parts: Parts) -> World:
    """Images and an experiment whose bundle is on this host."""
    metadata = parts.settings.home / "bundles" / BUNDLE / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("{}")
    return build(parts.catalog)


def _loop(parts: Parts, world: World, *, max_rounds: int | None = None, key_metric: float | None = None) -> str:
    stop = StopCriteria(max_rounds=max_rounds, key_metric=key_metric)
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        return start_annotation(session, experiment, AnnotationSpec(round_size=1, stop_criteria=stop), actor="ann").id


def _label(parts: Parts, world: World, *images: int) -> None:
    """Save labels whose bytes are there."""
    blob = parts.blobs.put_bytes(b"label")
    with parts.catalog.write() as session:
        notices = [notice(world.images[image]).model_copy(update={"blob": blob}) for image in images]
        notify(session, world.dataset, notices, "ann")


def _held_out(parts: Parts, world: World, *images: int) -> None:
    """Have the images' patients on the evaluation side, for ever."""
    with parts.catalog.write() as session:
        lineage = session.get_one(Experiment, world.experiment).lineage
        for image in images:
            key = session.get_one(Image, world.images[image]).patient_key
            session.add(PatientSide(lineage=lineage, patient_key=key, side=Side.EVALUATE))


def _claim(parts: Parts, loop: str) -> work.Claim:
    with parts.catalog.read() as session:
        round_ = jobs.open_child(session, loop)
    assert round_ is not None
    claim = work.claim(parts, round_.id, round_.current_attempt)
    assert claim is not None
    return claim


def _end(parts: Parts, world: World, claim: work.Claim, number: int) -> None:
    """End a round, its challenger kept back: what training and evaluation leave is made up."""
    snapshot = gather(parts, claim)
    version = add_version(parts.catalog, world, number, claim.job_id)
    trained = Trained(version=version, epoch=1, max_epoch=1, steps=1, train_seconds=1, isolation="none")
    work.mark_step(parts, claim, train.STEP, parts.blobs.put_bytes(trained.model_dump_json().encode()))
    judged = Evaluation(
        published=world.version,
        challenger=version,
        held_out=[],
        prequential=[],
        published_scores={},
        challenger_scores={},
    )
    finish.finish(parts, claim, snapshot, parts.blobs.put_bytes(judged.model_dump_json().encode()))


def test_a_round_whose_labels_are_all_held_out_is_skipped_and_its_labels_train_in_the_next(
    parts: Parts, world: World
) -> None:
    _held_out(parts, world, 0)
    loop = _loop(parts, world, max_rounds=1)
    _label(parts, world, 0)
    claim = _claim(parts, loop)
    with work.Lease(parts, claim) as lease:
        snapshot = gather(parts, claim)
        assert train.fine_tune(parts, claim, lease, snapshot) is None
    finish.finish(parts, claim, snapshot, None)

    skipped = job(parts.catalog, claim.job_id)
    assert (skipped.status, skipped.result["decision"]) == (JobStatus.DONE, "skipped")
    assert skipped.message.startswith(REASON)
    assert (job(parts.catalog, loop).status, job(parts.catalog, loop).rounds_done) == (JobStatus.RUNNING, 0)
    with parts.catalog.read() as session:
        assert session.get_one(Decision, claim.job_id).outcome == "skipped"
        assert jobs.trained_to(session, world.experiment) == 0
        assert jobs.open_child(session, loop) is None, "it is not repeated for ever"

    _label(parts, world, 1)
    rows = work.read_snapshot(parts, gather(parts, _claim(parts, loop))).rows
    assert {row.image: row.side for row in rows} == {world.images[0]: "evaluate", world.images[1]: "train"}


@pytest.mark.parametrize("fault", ["names", "image"])
def test_a_round_whose_labels_cannot_be_read_is_skipped_and_the_loop_goes_on(
    parts: Parts, world: World, tmp_path: Path, fault: str
) -> None:
    loop = _loop(parts, world, max_rounds=1)
    _label(parts, world, 0)
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = {"kind": "folder", "url": str(tmp_path)}  # with no image in it
        if fault == "names":
            session.scalars(select(Label)).one().names = {"1": "something else"}
    claim = _claim(parts, loop)
    with work.Lease(parts, claim) as lease:
        snapshot = gather(parts, claim)
        assert bool(work.read_snapshot(parts, snapshot).side("train")) == (fault == "image")
        assert train.fine_tune(parts, claim, lease, snapshot) is None
    finish.finish(parts, claim, snapshot, None)

    skipped = job(parts.catalog, claim.job_id)
    assert (skipped.status, skipped.result["decision"]) == (JobStatus.DONE, "skipped")
    assert "label names" in skipped.message
    assert skipped.result["left_out"] == ([world.images[0]] if fault == "image" else [])
    assert (job(parts.catalog, loop).status, job(parts.catalog, loop).rounds_done) == (JobStatus.RUNNING, 0)


def test_a_round_that_was_kept_back_counts_towards_the_rounds_that_were_asked_for(parts: Parts, world: World) -> None:
    loop = _loop(parts, world, max_rounds=2)
    for number in (1, 2):
        _label(parts, world, number)
        _end(parts, world, _claim(parts, loop), number)

    ended = job(parts.catalog, loop)
    assert (ended.status, ended.rounds_done, ended.message) == (JobStatus.DONE, 2, "2 rounds done")
    _label(parts, world, 3)
    with parts.catalog.read() as session:
        assert len(jobs.children(session, loop)) == 2


def test_labels_that_come_while_a_round_is_open_make_the_next_one(parts: Parts, world: World) -> None:
    loop = _loop(parts, world)
    _label(parts, world, 0)
    claim = _claim(parts, loop)
    gather(parts, claim)
    _label(parts, world, 1, 2)
    with parts.catalog.read() as session:
        assert len(jobs.children(session, loop)) == 1

    _end(parts, world, claim, 1)

    second = _claim(parts, loop)
    rows = work.read_snapshot(parts, gather(parts, second)).rows
    assert {row.image for row in rows} == set(world.images[:3])
    assert job(parts.catalog, loop).pending == 0, "everything that waited is used up"


def test_a_paused_loops_last_round_still_ends_it(parts: Parts, world: World) -> None:
    loop = _loop(parts, world, max_rounds=1)
    _label(parts, world, 0)
    claim = _claim(parts, loop)
    with parts.catalog.write() as session:
        session.get_one(Job, loop).status = JobStatus.PAUSED

    _end(parts, world, claim, 1)

    assert job(parts.catalog, loop).status == JobStatus.DONE


def test_when_images_run_out_the_loop_says_what_waits_and_how_to_train_with_it(parts: Parts, world: World) -> None:
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        spec = AnnotationSpec(round_size=len(world.images) + 1)
        loop = start_annotation(session, experiment, spec, actor="ann").id
    _label(parts, world, *range(len(world.images) - 1))
    assert job(parts.catalog, loop).message == ""

    with parts.catalog.write() as session:
        assert next_image(session, world.dataset, holder="bob").id == world.images[-1]
    _label(parts, world, 0)
    assert job(parts.catalog, loop).message == "", "what somebody has before them is still to come"

    _label(parts, world, len(world.images) - 1)

    assert job(parts.catalog, loop).message == (
        "No image is left to label: 10 labels wait for a round of 11. Resume the job with round_now to train with them."
    )
    with parts.catalog.write() as session:
        label = session.scalars(select(Label).where(Label.image_id == world.images[0])).one()
        removed = notice(world.images[0], kind="removed").model_copy(update={"store_key": label.store_key})
        notify(session, world.dataset, [removed], "ann")
    assert job(parts.catalog, loop).message == ""
