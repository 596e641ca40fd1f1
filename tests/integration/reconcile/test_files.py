"""What nothing names is removed after a week, what anything names stays; both databases are asked."""

import os
from collections.abc import Callable

from sqlalchemy import update

from configs.errors import NotFoundError
from configs.specs.round import RoundSpec
from configs.states import JobStatus
from infra.adapters.catalog.tables import Experiment, Job, Label, ModelVersion, StepMark
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.reconcile import files
from tasks.rounds.count import notify
from tasks.rounds.records.snapshot import Snapshot, SnapshotRow
from tests.builders import BUNDLE, World, add_version, notice
from tests.integration.reconcile.conftest import Round

WEEK_AGO = (0.0, 0.0)


def _put(parts: Parts, content: str) -> str:
    sha256 = parts.blobs.put_bytes(content.encode())
    os.utime(parts.blobs.path(sha256), WEEK_AGO)
    return sha256


def _kept(parts: Parts, sha256: str) -> bool:
    try:
        return bool(parts.blobs.read_bytes(sha256))
    except NotFoundError:
        return False


def _snapshot(world: World, job: str, label_sha256: str) -> str:
    row = SnapshotRow(
        dataset=world.dataset,
        image=world.images[0],
        image_fingerprint="1",
        label="label",
        label_sha256=label_sha256,
        label_ending=".nii",
        side="train",
        patient="p",
    )
    told = Snapshot(
        experiment=world.experiment,
        job=job,
        round=1,
        to_seq=1,
        bundle=BUNDLE,
        base_version=None,
        base_weights=None,
        labels={1: "liver"},
        spec=RoundSpec(),
        seed=0,
        code="1",
        environment={},
        rows=[row],
    )
    return told.model_dump_json()


def test_a_blob_stays_as_long_as_a_row_or_a_snapshot_names_it(
    parts: Parts, world: World, round_: Round, later: Callable[[], None]
) -> None:
    put = {name: _put(parts, name) for name in ("weights", "results", "mark", "label", "learnt", "nobody's")}
    put["snapshot"] = _put(parts, _snapshot(world, round_.id, put["learnt"]))
    fresh = parts.blobs.put_bytes(b"on its way into a row")
    version = add_version(parts.catalog, world, 1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[5])], "ann")
        session.execute(update(Label).where(Label.image_id == world.images[5]).values(blob=put["label"]))
        values = {"weights": put["weights"], "results": put["results"]}
        session.execute(update(ModelVersion).where(ModelVersion.id == version).values(values))
        session.add(StepMark(job_id=round_.id, step="evaluate", output=put["mark"], attempt=1))
        session.get_one(Job, round_.id).snapshot = put["snapshot"]

    assert files.files_swept(parts) == 1
    assert [name for name, sha256 in put.items() if not _kept(parts, sha256)] == ["nobody's"]
    assert _kept(parts, fresh)
    assert files.files_swept(parts) == 0, "once a day"

    with parts.catalog.write() as session:
        session.execute(update(Experiment).values(deleted_at=now()))
    later()
    assert files.files_swept(parts) == 1
    assert not _kept(parts, put["learnt"]), "what only a deleted experiment learnt from goes"


def test_while_a_snapshot_cannot_be_read_nothing_is_removed(parts: Parts, round_: Round) -> None:
    nobodys = _put(parts, "nobody's")
    with parts.catalog.write() as session:
        session.get_one(Job, round_.id).snapshot = "d" * 64
    assert files.files_swept(parts) == 0
    assert _kept(parts, nobodys)


def test_what_a_killed_process_left_of_a_job_goes_a_day_after_the_job_ended(
    parts: Parts, round_: Round, later: Callable[[], None]
) -> None:
    work = parts.settings.home / "work" / round_.id / "1"
    log, case, scratch = work / "fine_tune" / "log.txt", work / "labels" / "1.nii", work.parents[1] / "score-x"
    for file in (log, case, scratch / "file"):
        file.parent.mkdir(parents=True)
        file.write_text("token=abc123secret")
    os.utime(scratch, WEEK_AGO)
    checkpoint = parts.blobs.attempt_folder(round_.id, 1) / "checkpoints" / "1.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"state")
    parts.redactor.learn("abc123secret")

    assert files.files_swept(parts) == 1, "the job is open: only what a killed scoring left is nobody's"
    round_.becomes(JobStatus.CANCELED)
    later()
    assert files.files_swept(parts) == 0, "its process may still be about to leave"
    with parts.catalog.write() as session:
        session.execute(update(Job).values(modified_at=now() - 2 * 86400.0))
    later()
    assert files.files_swept(parts) == 1
    assert [path.exists() for path in (log, case, checkpoint, scratch)] == [True, False, False, False]
    assert "abc123secret" not in log.read_text()
    later()
    assert files.files_swept(parts) == 0
