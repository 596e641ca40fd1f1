"""Fine-tune: a bundle host trains on the snapshot; its checkpoints and weights become ours when they are whole."""

import json
import shutil
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import HostDiedError, InvalidRequestError
from configs.failpoints import fail_point
from configs.wire.host import (
    Case,
    Checkpoint,
    CheckpointAndExit,
    Failed,
    HostMessage,
    Metric,
    Progress,
    TrainRequest,
    TrainResult,
)
from infra.adapters.artifacts.attempts import newest_checkpoint, save_checkpoint
from infra.adapters.cache.trim import trim
from infra.adapters.catalog.tables import ModelVersion
from infra.adapters.catalog.tables.base import now
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.devices.hold import computing
from tasks.devices.needs import training_need
from tasks.rounds.jobs import attempts
from tasks.rounds.records.result import RoundResult
from tasks.rounds.records.snapshot import Snapshot
from tasks.rounds.records.version import version_of
from tasks.rounds.steps.work import (
    Claim,
    Lease,
    Work,
    cases_of,
    mark_step,
    note_unread,
    open_work,
    read_snapshot,
    step_done,
)

STEP = "fine_tune"


class Trained(BaseModel):
    """What training left; the blob of its step mark. `left_out`: cases that, or whose labels, cannot be read."""

    model_config = ConfigDict(frozen=True)

    version: str
    epoch: int
    max_epoch: int
    steps: int
    train_seconds: float
    isolation: str
    batch_at_once: int | None = None
    precision: str = ""
    ranks: int = 1
    head_rebuilt: bool = False
    left_out: list[str] = []


def read_trained(parts: Parts, held: Claim) -> Trained | None:
    """Return what the round's training left; None while it has not."""
    done = step_done(parts, held, STEP)
    return None if done is None else Trained.model_validate_json(parts.blobs.read_bytes(done))


def fine_tune(parts: Parts, held: Claim, lease: Lease, snapshot_sha256: str) -> str | None:
    """Train on the snapshot, from the newest whole checkpoint of any attempt, and seal a model version.

    Of a job whose weights were uploaded nothing is trained: they are its version.

    Returns:
        The model version's id; None if no label on the training side can be read here.

    Raises:
        SupersededError: If the attempt may no longer write.
        HostError: If training failed; the class says whether another try makes sense.
        StoreError: If an image cannot be read now.
    """
    done = read_trained(parts, held)
    if done is not None:
        return done.version
    snapshot, work = read_snapshot(parts, snapshot_sha256), open_work(parts, held)
    if work.spec.uploaded is not None:
        return _take_uploaded(parts, work, work.spec.uploaded)
    if not snapshot.side("train"):
        return None
    fail_point(parts.settings, "before-training")
    rows = snapshot.side("train", "validate")
    with parts.cache.pin() as pin:
        cases = cases_of(parts, work, rows, pin)
        if not any(case.side == "train" for case in cases):
            return None
        run = _Run(parts, work, snapshot, snapshot_sha256)
        result = run.to_end(lease, cases)
    read = {case.id for case in cases}
    unread = read & {*result.left_out}
    note_unread(parts, unread, reads_others=True)
    result = result.model_copy(update={"left_out": [row.case for row in rows if row.case not in read - unread]})
    return _seal(parts, work, snapshot, snapshot_sha256, result, run.max_epoch)


class _Run:
    """One host that trains, and what it says."""

    def __init__(self, parts: Parts, work: Work, snapshot: Snapshot, sha256: str) -> None:
        self._parts, self._work, self._snapshot, self._sha256 = parts, work, snapshot, sha256
        self._folder = parts.blobs.attempt_folder(work.claim.job_id, work.claim.n)
        self._host_folder = work.host_folder(STEP)
        self._stepped = False
        self.max_epoch = 0

    def to_end(self, lease: Lease, cases: list[Case]) -> TrainResult:
        """Train in a bundle host, hand on what it tells, and return its result."""
        request = self._request(cases)
        result: TrainResult | None = None
        with (
            computing(
                self._parts,
                request,
                training_need(self._parts, self._work.bundle_id),
                holder=f"train:{self._work.claim.job_id}:{self._work.claim.n}",
                work=self._host_folder,
                bundle=self._work.bundle,
                check=lease.check,
            ) as host,
            lease.calls(host.kill, on_pause=lambda: host.send(CheckpointAndExit())),
        ):
            for message in host.messages():
                result = self._take(message) or result
        if result is None:
            raise HostDiedError("Training ended without a result.")
        return result

    def _request(self, cases: list[Case]) -> TrainRequest:
        resume = newest_checkpoint(self._folder.parent, up_to=self._work.claim.n, snapshot=self._sha256)
        base = self._snapshot.base_weights
        return TrainRequest(
            bundle=str(self._work.bundle),
            cases=cases,
            labels=self._work.labels,
            weights=str(self._parts.blobs.path(base)) if base else None,
            spec=self._work.spec.train.for_host(),
            resume=str(resume.path) if resume else None,
            out=str(self._host_folder / "out"),
            cache=str(tensor_cache(self._parts, self._work.bundle_id)),
            seed=self._snapshot.seed,
        )

    def _take(self, message: HostMessage) -> TrainResult | None:
        if isinstance(message, TrainResult):
            return message
        if isinstance(message, Failed):
            raise error_of(message)
        if isinstance(message, Metric):
            with (self._folder / "events.jsonl").open("a") as events:
                events.write(json.dumps({**message.model_dump(mode="json"), "at": time.time()}) + "\n")
        elif isinstance(message, Progress):
            self._progress(message)
        elif isinstance(message, Checkpoint):
            save_checkpoint(self._folder, Path(message.path), epoch=message.epoch, snapshot=self._sha256)
            self._parts.catalog.unit(self._note_checkpoint)
            fail_point(self._parts.settings, "after-checkpoint")
        return None

    def _note_checkpoint(self, session: Session) -> None:
        attempts.fence(session, self._work.claim.job_id, self._work.claim.n, pausing=True)
        attempts.progressed(session, self._work.claim.job_id, self._work.claim.n)

    def _progress(self, progress: Progress) -> None:
        """Note the first training step, and how far training is, once an epoch."""
        first = progress.step >= 1 and not self._stepped
        if not first and progress.step % max(1, progress.max_step // max(1, progress.max_epoch)):
            return
        self.max_epoch = progress.max_epoch
        self._stepped = self._stepped or first
        with self._parts.catalog.write() as session:
            job = attempts.fence(session, self._work.claim.job_id, self._work.claim.n, pausing=True)
            if first and job.first_step_at is None:
                job.first_step_at = session.scalar(select(now()))
            told = RoundResult(
                epoch=progress.epoch,
                max_epoch=progress.max_epoch,
                steps=progress.step,
                max_steps=progress.max_step,
                eta_seconds=progress.eta_s,
            )
            job.result = {**job.result, **told.model_dump(mode="json", exclude_unset=True)}


def _seal(
    parts: Parts, work: Work, snapshot: Snapshot, snapshot_sha256: str, result: TrainResult, max_epoch: int
) -> str:
    """Store the weights, then the row that names them, with the step's mark, in one unit."""
    held = work.claim
    # Durable before the row names them; put again after a crash it is the same blob.
    weights = parts.blobs.put_file(Path(result.weights))
    fail_point(parts.settings, "weights-stored")
    version_id = parts.catalog.unit(
        lambda session: _sealed(session, work, weights, snapshot_sha256, snapshot.base_version)
    )
    trained = Trained(
        version=version_id,
        epoch=result.epoch,
        max_epoch=max(max_epoch, result.epoch),
        steps=result.steps,
        train_seconds=result.train_s,
        isolation=parts.hosts.level,
        batch_at_once=result.batch_at_once,
        precision=result.precision,
        ranks=result.ranks,
        head_rebuilt=result.head_rebuilt,
        left_out=result.left_out,
    )
    mark_step(parts, held, STEP, parts.blobs.put_bytes(trained.model_dump_json().encode()))
    shutil.rmtree(work.host_folder(STEP) / "out", ignore_errors=True)
    return version_id


def _take_uploaded(parts: Parts, work: Work, weights: str) -> str:
    """Take what was uploaded for what training leaves; its version is there, but for a job that does this one again."""
    version_id = parts.catalog.unit(lambda session: _sealed(session, work, weights, None, None))
    trained = Trained(version=version_id, epoch=0, max_epoch=0, steps=0, train_seconds=0.0, isolation=parts.hosts.level)
    mark_step(parts, work.claim, STEP, parts.blobs.put_bytes(trained.model_dump_json().encode()))
    return version_id


def _sealed(session: Session, work: Work, weights: str, snapshot: str | None, parent: str | None) -> str:
    """Return the id of the version that this round made, a new one unless an attempt before this one got so far."""
    job = attempts.fence(session, work.claim.job_id, work.claim.n)
    return version_of(session, job, ModelVersion(weights=weights, snapshot=snapshot, parent_id=parent)).id


def tensor_cache(parts: Parts, bundle_id: str) -> Path:
    """Return the folder in which hosts of this bundle keep preprocessed tensors, brought within its bounds.

    Bundles do not share one: what one writes, another would read.
    """
    folder = parts.settings.cache_dir / "hosts" / bundle_id
    folder.mkdir(parents=True, exist_ok=True)
    trim(folder, parts.settings.cache_bytes // 4)
    return folder


def weights_file(parts: Parts, version: ModelVersion | None) -> str:
    """Return a version's weights as a file of this host; empty = the bundle's own.

    Raises:
        InvalidRequestError: If there is no such version.
    """
    if version is None:
        raise InvalidRequestError("No model version is published: label images and let a round run first.")
    return str(parts.blobs.path(version.weights)) if version.weights else ""
