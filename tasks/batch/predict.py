"""Predict a batch: one bundle host, one image after the other, each written whole before the next begins.

A line of the batch's list is written after its file: an attempt goes on where the one before it was lost.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from configs.errors import (
    HostDiedError,
    InvalidRequestError,
    NotFoundError,
    UnreadableError,
)
from configs.specs.batch import BatchResult, BatchSpec
from configs.specs.dataset import DatasetSpec
from configs.states import AttemptState, JobStatus, LabelState
from configs.wire.host import Failed, HostMessage, Load, Loaded, Predict, Prediction, Ready, ServeRequest
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Label, ModelVersion
from infra.adapters.catalog.workspaces import queue_results
from infra.adapters.compute.base import BundleHost
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.batch.listed import Line, folder_of, list_in, read_lines, write_table
from tasks.batch.write import Model, into_store, write_prediction
from tasks.bundles.catalog import bundle_folder
from tasks.devices.hold import computing
from tasks.devices.needs import batch_need
from tasks.images import poison
from tasks.images.prepare import LocalImage
from tasks.images.stores import image_of, store_of
from tasks.rounds.jobs import attempts
from tasks.rounds.steps.work import Claim, Lease

Said = TypeVar("Said", Ready, Loaded, Prediction)
_VERSION = "version"
# Each costs a unit in the catalog; a person looks every few seconds at most.
_PROGRESS_EVERY = 10


def predict_batch(parts: Parts, held: Claim, lease: Lease) -> BatchResult:
    """Predict what is not predicted yet, and return what there is in the end.

    An image that is gone or cannot be read is left out; the others go on.

    Raises:
        SupersededError: If the claim was lost, or the job is to pause.
        HostError: If the bundle fails.
        StoreError: If the store cannot be read or written.
    """
    batch = _Batch(parts, held)
    left_out = 0
    todo = [image for image in batch.images() if image.key not in batch.done]
    if todo:
        with batch.host(lease) as (host, heard):
            for number, image in enumerate(todo, start=1):
                lease.check()
                left_out += not batch.one(host, heard, image)
                if number == 1 or number % _PROGRESS_EVERY == 0:
                    _note_progress(parts, held, f"{number} of {len(todo)} images are looked at")
    write_table(batch.folder, batch.list)
    return BatchResult(
        predicted=len(batch.done),
        left_out=left_out,
        version=batch.version.id,
        output=str(batch.folder.relative_to(parts.settings.home)),
        isolation=parts.hosts.level,
    )


def finish_batch(parts: Parts, held: Claim, result: BatchResult) -> None:
    """Close the job.

    Raises:
        SupersededError: If the attempt may no longer write.
    """
    with parts.catalog.write() as session:
        job = attempts.fence(session, held.job_id, held.n)
        job.status, job.result = JobStatus.DONE, result.model_dump(mode="json")
        left_out = f", {result.left_out} images could not be read" if result.left_out else ""
        job.message = f"{result.predicted} predictions are in {result.output} of the home folder{left_out}"
        ended = jobs.attempt(session, held.job_id, held.n)
        if ended is not None:
            ended.state = AttemptState.ENDED
        queue_results(session, job)


class _Batch:
    """One attempt at one batch."""

    def __init__(self, parts: Parts, held: Claim) -> None:
        self._parts = parts
        with parts.catalog.read() as session:
            job = jobs.get(session, held.job_id)
            self._spec = BatchSpec.model_validate(job.spec)
            experiment = session.get_one(Experiment, job.experiment_id)
            self.version = session.get_one(ModelVersion, self._spec.version_id)
            allowed = DatasetSpec.model_validate(session.get_one(Dataset, self._spec.dataset_id).spec)
        asked = self._spec.write_predictions
        self._to_store = allowed.write_predictions if asked is None else asked
        self._labels = {int(index): name for index, name in experiment.labels.items()}
        self._model = Model(self.version.id, self._labels)
        self._store = store_of(parts, self._spec.dataset_id or "")
        self._bundle = bundle_folder(parts, self.version.bundle_id)
        self._work = parts.settings.home / "work" / held.job_id / str(held.n) / "predict"
        self.folder = folder_of(parts, held.job_id, self._spec)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.list = list_in(self.folder, held.job_id)
        self.done = {line.image for line in read_lines(self.list)}

    def images(self) -> list[Image]:
        """Return the images that are to be predicted, those that are done among them."""
        with self._parts.catalog.read() as session:
            return _wanted(session, self._spec)

    @contextmanager
    def host(self, lease: Lease) -> Iterator[tuple[BundleHost, Iterator[HostMessage]]]:
        """Give a host with the version loaded, and what it says."""
        shutil.rmtree(self._work, ignore_errors=True)
        raw = self._parts.settings.cache_dir / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        (self._work / "cache").mkdir(parents=True)
        request = ServeRequest(
            bundle=str(self._bundle), labels=self._labels, out=str(self._work / "out"), cache=str(self._work / "cache")
        )
        try:
            with (
                computing(
                    self._parts,
                    request,
                    batch_need(self._parts, self.version.bundle_id, self.version.weights),
                    holder=f"batch:{self._work.parent.parent.name}:{self._work.parent.name}",
                    work=self._work,
                    bundle=self._bundle,
                    readable=[raw],
                    check=lease.check,
                ) as host,
                lease.calls(host.kill),
            ):
                heard = host.messages()
                _expect(heard, Ready)
                host.send(Load(version=_VERSION, weights=self._weights()))
                _expect(heard, Loaded)
                yield host, heard
                host.kill()
        finally:
            shutil.rmtree(self._work / "cache", ignore_errors=True)

    def one(self, host: BundleHost, heard: Iterator[HostMessage], image: Image) -> bool:
        """Predict one image and write it; False if it could not be read."""
        try:
            with self._parts.cache.pin() as pin:
                local = image_of(self._parts, self._store, image, pin)
                host.send(
                    Predict(id=str(image.id), version=_VERSION, image=[*map(str, local.files)], name=f"{image.id}.nii")
                )
                answer = _expect(heard, Prediction)
                self._write(image, local, Path(answer.path))
        except UnreadableError as error:
            poison.unprepared(self._parts, image, error, reads_others=bool(self.done))
            return False
        except (NotFoundError, InvalidRequestError):
            return False
        return True

    def _write(self, image: Image, local: LocalImage, answer: Path) -> None:
        file = write_prediction(self.folder, image, local, answer, self._model)
        if self._to_store:
            into_store(self._store, image, local, file, self._model)
        answer.unlink()
        line = Line(
            image=image.key,
            file=str(file.relative_to(self.folder)),
            version=self.version.id,
            labels={str(index): name for index, name in self._labels.items()},
        )
        with self.list.open("a") as lines:
            lines.write(line.model_dump_json() + "\n")
        self.done.add(image.key)

    def _weights(self) -> str:
        if not self.version.weights:
            return ""
        copy = self._work / "in" / "version.safetensors"
        shutil.copyfile(self._parts.blobs.path(self.version.weights), copy)
        return str(copy)


def _wanted(session: Session, spec: BatchSpec) -> list[Image]:
    query = select(Image).where(Image.dataset_id == spec.dataset_id)
    labelled = exists().where(Label.image_id == Image.id, Label.state == LabelState.ACTIVE)
    if spec.images:
        keys = set(spec.images)
        return [image for image in session.scalars(query.order_by(Image.id)) if image.key in keys]
    if spec.which != "all":
        query = query.where(labelled if spec.which == "labelled" else ~labelled)
    return list(session.scalars(query.order_by(Image.id)))


def _expect(heard: Iterator[HostMessage], kind: type[Said]) -> Said:
    """Return the next message, which has to be of this kind.

    Raises:
        HostDiedError: If the host says something else, or nothing any more.
        TeachbackError: What a `Failed` stands for.
    """
    message = next(heard, None)
    if isinstance(message, Failed):
        raise error_of(message)
    if not isinstance(message, kind):
        raise HostDiedError("The bundle host answered with something else than it was asked for")
    return message


def _note_progress(parts: Parts, held: Claim, told: str) -> None:
    with parts.catalog.write() as session:
        attempts.fence(session, held.job_id, held.n).message = told
        attempts.progressed(session, held.job_id, held.n)
