"""What every step of a round shares: the claim, its lease, step marks, and the cases as files."""

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, SupersededError, UnreadableError
from configs.failpoints import fail_point
from configs.kinds import LabelKind
from configs.specs.round import RoundSpec
from configs.states import JobStatus
from configs.wire.host import Case
from infra.adapters.cache.disk import Pin
from infra.adapters.catalog import images, jobs
from infra.adapters.catalog.tables import Bundle, Experiment, StepMark
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.devices.claims import Claimant
from tasks.devices.here import born
from tasks.images import poison
from tasks.images.prepare import LocalImage
from tasks.images.stores import image_of, store_of
from tasks.labels.forms.structured import check_structured
from tasks.labels.incoming.check import CheckedLabel, check_label
from tasks.labels.incoming.names import Names
from tasks.rounds.jobs import attempts
from tasks.rounds.records.snapshot import Snapshot, SnapshotRow

log = logging.getLogger(__name__)

# The end of an epoch is waited for, but not for ever: whoever pauses wants the device.
PAUSE_S = 120.0


class Claim(BaseModel):
    """An attempt that this process holds."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    n: int
    holder: str


def claim(parts: Parts, job_id: str, n: int, *, flow_run_id: str | None = None) -> Claim | None:
    """Take attempt *n* for this flow run; None if somebody else has it or it is no longer wanted."""
    taken = Claim(job_id=job_id, n=n, holder=new_id())
    pid = os.getpid()
    who = Claimant(taken.holder, platform.node(), pid, born(pid), parts.settings.attempt_lease_s)
    if not parts.catalog.unit(partial(attempts.claim, job_id=job_id, n=n, who=who, flow_run_id=flow_run_id)):
        return None
    fail_point(parts.settings, "claimed")
    return taken


class Lease:
    """Renews a claim in the background; when it is lost, or the job is to pause, whoever registered is told, once.

    A catalog that does not answer is no loss: the lease may still be renewed before it ends.
    """

    def __init__(self, parts: Parts, held: Claim) -> None:
        self._parts = parts
        self._held = held
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._pause_by: float | None = None
        self._on_loss: Callable[[], None] | None = None
        self._on_pause: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def calls(self, on_loss: Callable[[], None], on_pause: Callable[[], None] | None = None) -> Iterator[None]:
        """While the block runs, call *on_loss* should the claim be lost, *on_pause* should the job be paused.

        Args:
            on_loss: Ends what is done.
            on_pause: Asks for it to be ended well; what has not ended after two minutes is ended by *on_loss*.
                None = nothing is worth keeping.

        Raises:
            SupersededError: If the claim is lost already, or was during the block, or the job is to pause.
        """
        self._on_loss, self._on_pause = on_loss, on_pause or on_loss
        try:
            self.check()
            yield
            self.check()
        finally:
            self._on_loss = self._on_pause = None

    def check(self) -> None:
        """Raise SupersededError if the claim was lost or the job is to pause."""
        if self._lost.is_set():
            raise SupersededError(f"Attempt {self._held.n} of job {self._held.job_id} lost its claim.")
        if self._pause_by is not None:
            raise SupersededError(f"Attempt {self._held.n} of job {self._held.job_id} ends: its job is paused.")

    def _run(self) -> None:
        while not self._stop.wait(self._parts.settings.attempt_renew_s):
            try:
                with self._parts.catalog.write() as session:
                    status = attempts.renew(
                        session,
                        self._held.job_id,
                        self._held.n,
                        holder=self._held.holder,
                        lease_s=self._parts.settings.attempt_lease_s,
                    )
            except SQLAlchemyError:
                continue
            if status is None:
                self._lost.set()
                if self._on_loss is not None:
                    self._on_loss()
                return
            if status == JobStatus.PAUSING:
                self._ask_to_pause()

    def _ask_to_pause(self) -> None:
        """Have the work end with what it has; what takes too long over it is ended."""
        first, on_pause, on_loss = self._pause_by is None, self._on_pause, self._on_loss
        self._pause_by = self._pause_by or time.monotonic() + PAUSE_S
        if first and on_pause is not None:
            on_pause()
        elif not first and time.monotonic() > self._pause_by and on_loss is not None:
            on_loss()


class Words(BaseModel):
    """In which words labels are read: an experiment's, and the folder that gets them."""

    model_config = ConfigDict(frozen=True)

    learns: LabelKind = "mask"
    labels: dict[int, str]
    folder: Path

    def needs_all(self) -> bool:
        """Say whether an image that is gone ends it; else it is left out."""
        return False


class Work(Words):
    """One attempt at one round, opened: what it was asked, and where its files are."""

    claim: Claim
    experiment_id: str
    dataset_id: str
    bundle_id: str
    bundle: Path
    weights_policy: str
    spec: RoundSpec
    parent_id: str | None

    def needs_all(self) -> bool:
        """A rerun is of all that its snapshot has."""
        return self.spec.rerun_of is not None

    def host_folder(self, step: str) -> Path:
        """Return the folder that a bundle host of this step works in."""
        return self.folder / step


def open_work(parts: Parts, held: Claim) -> Work:
    """Read what an attempt was asked to do."""
    with parts.catalog.read() as session:
        job = jobs.get(session, held.job_id)
        experiment = session.get_one(Experiment, job.experiment_id)
        bundle = session.get_one(Bundle, experiment.bundle_id)
        return Work(
            claim=held,
            experiment_id=experiment.id,
            dataset_id=job.dataset_id or "",
            bundle_id=bundle.id,
            bundle=bundle_folder(parts, bundle.id),
            weights_policy=str(bundle.check.get("weights_policy", "file")),
            learns=experiment.learns,
            labels={int(index): name for index, name in experiment.labels.items()},
            spec=RoundSpec.model_validate(job.spec),
            parent_id=job.parent_id,
            folder=parts.settings.home / "work" / held.job_id / str(held.n),
        )


def step_done(parts: Parts, held: Claim, step: str) -> str | None:
    """Return a finished step's output hash, of whichever attempt; None if it has to be done."""
    with parts.catalog.read() as session:
        return jobs.step_output(session, held.job_id, step)


def mark_step(parts: Parts, held: Claim, step: str, output: str) -> None:
    """Record that a step is finished.

    Raises:
        SupersededError: If the attempt may no longer write.
    """

    def marked(session: Session) -> None:
        """Note the step, if the attempt may still write."""
        attempts.fence(session, held.job_id, held.n)
        session.add(StepMark(job_id=held.job_id, step=step, output=output, attempt=held.n))
        attempts.progressed(session, held.job_id, held.n)

    fail_point(parts.settings, f"before-mark-{step}")
    parts.catalog.unit(marked)


def read_snapshot(parts: Parts, sha256: str) -> Snapshot:
    """Read a snapshot."""
    return Snapshot.model_validate_json(parts.blobs.read_bytes(sha256))


def cases_of(parts: Parts, work: Words, rows: list[SnapshotRow], pin: Pin) -> list[Case]:
    """Put the rows' images and labels on this host, the labels in the experiment's indices on the images' grids.

    A label that cannot be read in the experiment's words is left out, and so is an image that is no longer there; but a
    rerun is of all that the snapshot has.

    Raises:
        ConflictError: If an image has changed since the snapshot was written; the message names its catalog id.
        StoreError: If an image cannot be read now.
        CorruptError: If a label's bytes are not those of the snapshot.
    """
    folder = work.folder / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    stores = {row.dataset: store_of(parts, row.dataset) for row in rows}
    cases = []
    for row in rows:
        with parts.catalog.read() as session:
            image = images.get(session, row.image)
        if image.fingerprint != row.image_fingerprint:
            raise ConflictError(_changed(row.image))
        try:
            local = image_of(parts, stores[row.dataset], image, pin)
        except (NotFoundError, InvalidRequestError, ConflictError) as error:
            if work.needs_all():
                raise ConflictError(_changed(row.image)) from error
            # One image that was deleted or replaced in its store must not end the loop, now and for ever.
            log.warning("image %s is left out: %s", row.image, type(error).__name__)
            continue
        target = folder / f"{row.label_sha256}-{row.image}{'.nii' if work.learns == 'mask' else '.json'}"
        found = _in_our_words(parts, work, row, local, target)
        if found.quarantine is not None:
            # It fitted when it was saved, for another experiment's names perhaps; here it cannot be learnt from.
            log.warning("label %s is left out: %s", row.label, found.quarantine)
            continue
        if not found.annotated:
            log.warning("label %s is left out: it speaks about none of the experiment's labels", row.label)
            continue
        cases.append(
            Case(
                id=row.case, image=[*map(str, local.files)], label=str(target), side=row.side, annotated=found.annotated
            )
        )
    return cases


def note_unread(parts: Parts, cases: Iterable[str], *, reads_others: bool) -> None:
    """Count that a round's bundle host could not use these cases; the second time skips their images.

    Args:
        parts: The adapters.
        cases: Their ids.
        reads_others: Whether the host could read others.
    """
    error = UnreadableError(
        "a bundle could not read or prepare it, or its label, or its network failed on it; the round's log says why"
    )
    for case in cases:
        with parts.catalog.read() as session:
            image = images.get(session, int(case))
        poison.unprepared(parts, image, error, reads_others=reads_others)


def _changed(image: int) -> str:
    return f"Image {image} is no longer what the snapshot says: it was replaced or removed in its store since then"


def _in_our_words(parts: Parts, work: Words, row: SnapshotRow, local: LocalImage, target: Path) -> CheckedLabel:
    """Write a label in the experiment's indices, once per attempt, and say which of its names it speaks about."""
    noted = target.with_suffix(".checked")
    if noted.exists():
        return CheckedLabel.model_validate_json(noted.read_bytes())
    source = target.parent / f"{row.label_sha256}{row.label_ending}"
    if not source.exists():
        source.symlink_to(parts.blobs.path(row.label_sha256))
    names = {int(value): name for value, name in row.names.items()}
    check = partial(check_label, flat=local.is_picture) if work.learns == "mask" else check_structured
    here = Names(work.labels)
    found = check(local.geometry(), source, here, names=names or None, annotated=row.annotated, write_to=target)
    noted.write_text(found.model_dump_json())
    return found
