"""Gather: which labels this round trains on and is judged by, written down before anything else happens."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from configs.errors import ConflictError
from configs.failpoints import fail_point
from configs.states import Side
from infra.adapters.catalog import jobs
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import (
    Dataset,
    Experiment,
    ExperimentDataset,
    Image,
    Job,
    Label,
    ModelVersion,
    PendingImage,
)
from infra.wiring import Parts
from tasks.labels.choosing.learnt import learnable, structured
from tasks.labels.choosing.staple import derive_labels
from tasks.labels.forms.read import ending_in
from tasks.rounds.evaluation.cohorts import cohort_of
from tasks.rounds.evaluation.seen import seen_images
from tasks.rounds.evaluation.sides import give_sides, sides, validates
from tasks.rounds.jobs import attempts
from tasks.rounds.records.snapshot import OtherLabel, Snapshot, SnapshotRow
from tasks.rounds.steps.work import Claim, Work, mark_step, open_work, step_done

STEP = "gather"
_DECISIVE = ("torch", "monai", "lightning", "numpy")


def gather(parts: Parts, held: Claim) -> str:
    """Fix what the round trains on and return the snapshot's sha256; done once, whichever attempt asks.

    Everything that is pending is used up, not only `round_size`.

    Raises:
        SupersededError: If the attempt may no longer write.
    """
    done = step_done(parts, held, STEP)
    if done is not None:
        return done
    work = open_work(parts, held)
    if work.spec.rerun_of is not None:
        return _given(parts, held, work.spec.rerun_of)
    parts.catalog.unit(partial(_close_window, work=work))
    fail_point(parts.settings, "window-closed")
    with parts.catalog.read() as session:
        job = jobs.get(session, held.job_id)
        windows = [(dataset, _to_seq(session, work, job, dataset)) for dataset, _ in _datasets(session, work)]
    # Outside of units: joining labels takes seconds, and the window is closed already, so nothing changes meanwhile.
    for dataset, to_seq in windows if work.learns == "mask" else ():
        derive_labels(parts, dataset, to_seq, work.labels)
    with parts.catalog.read() as session:
        snapshot = _snapshot(parts, session, work)
    # Bytes before the row that names them: a crash in between leaves a file without a name, never a name without a
    # file.
    sha256 = parts.blobs.put_bytes(snapshot.model_dump_json().encode())
    parts.catalog.unit(partial(_note, held=held, sha256=sha256))
    mark_step(parts, held, STEP, sha256)
    return sha256


def _note(session: Session, held: Claim, sha256: str) -> None:
    attempts.fence(session, held.job_id, held.n).snapshot = sha256


def _given(parts: Parts, held: Claim, original: str) -> str:
    """Take the snapshot of the job that is done again: nothing is gathered, no label counts as used."""
    with parts.catalog.read() as session:
        sha256 = jobs.get(session, original).snapshot
    if sha256 is None:
        raise ConflictError(f"Job {original} has no snapshot to train again")
    parts.catalog.unit(partial(_note, held=held, sha256=sha256))
    mark_step(parts, held, STEP, sha256)
    return sha256


def _close_window(session: Session, work: Work) -> None:
    """Set how far this round's labels go, empty what is pending, and give new patients their sides: one unit."""
    # The data set before the job, as whoever counts a label locks them: a label is in this window or in the next.
    session.execute(lock(session, select(Dataset.id).where(Dataset.id == work.dataset_id)))
    job = attempts.fence(session, work.claim.job_id, work.claim.n)
    if job.to_seq is not None:
        return
    job.to_seq = session.get_one(Dataset, work.dataset_id).label_seq
    if job.parent_id is not None:
        session.execute(delete(PendingImage).where(PendingImage.job_id == job.parent_id))
        session.execute(update(Job).where(Job.id == job.parent_id).values(pending=0))
    lineage = session.get_one(Experiment, work.experiment_id).lineage
    for dataset_id, decided in _datasets(session, work):
        found = learnable(session, dataset_id, _to_seq(session, work, job, dataset_id), work.labels, work.learns)
        give_sides(session, lineage, (image for _, image in found), decided=decided)


def _datasets(session: Session, work: Work) -> list[tuple[str, Side | None]]:
    """Return the data sets of the round, and the side that each decides; one for evaluation alone comes first."""
    query = select(ExperimentDataset.dataset_id).where(
        ExperimentDataset.experiment_id == work.experiment_id, ExperimentDataset.use == "eval"
    )
    separate = [dataset for dataset in session.scalars(query) if dataset != work.dataset_id]
    own = Side.TRAIN if separate else None
    return [*((dataset, Side.EVALUATE) for dataset in separate), (work.dataset_id, own)]


def _to_seq(session: Session, work: Work, job: Job, dataset_id: str) -> int:
    if dataset_id == work.dataset_id and job.to_seq is not None:
        return job.to_seq
    return session.get_one(Dataset, dataset_id).label_seq


def _snapshot(parts: Parts, session: Session, work: Work) -> Snapshot:
    job = jobs.get(session, work.claim.job_id)
    experiment = session.get_one(Experiment, work.experiment_id)
    side_of = sides(session, experiment.lineage)
    seen = seen_images(parts, session, experiment)
    rows, others = [], list[OtherLabel]()
    for dataset_id, _ in _datasets(session, work):
        cohort = cohort_of(session.get_one(Dataset, dataset_id))
        to_seq = _to_seq(session, work, job, dataset_id)
        others += [
            _other(parts, label, side_of, session) for label in structured(session, dataset_id, to_seq, work.learns)
        ]
        for row in learnable(session, dataset_id, to_seq, work.labels, work.learns):
            found = _row(parts, row, side_of, seen, cohort, own=dataset_id == work.dataset_id)
            if found is not None:
                rows.append(found)
    base = _start_version(session, work, experiment)
    return Snapshot(
        experiment=experiment.id,
        job=job.id,
        round=job.round_no,
        to_seq=job.to_seq or 0,
        bundle=work.bundle_id,
        base_version=base.id if base else None,
        base_weights=base.weights if base else None,
        labels=work.labels,
        spec=work.spec,
        seed=work.spec.train.seed,
        code=_version("teachback"),
        environment={name: _version(name) for name in _DECISIVE},
        seen=sorted(seen),
        others=others,
        rows=sorted(_with_validation(rows, experiment.lineage), key=lambda row: row.image),
    )


def _row(
    parts: Parts,
    found: tuple[Label, Image],
    side_of: Mapping[str, str],
    seen: set[int],
    cohort: Callable[[Image], str],
    *,
    own: bool,
) -> SnapshotRow | None:
    label, image = found
    side = side_of.get(image.patient_key)
    # A model's output that nobody edited would find that very model faultless.
    if side is None or label.blob is None or (side == Side.EVALUATE and label.unedited):
        return None
    if side == Side.TRAIN and not own:
        return None
    fresh = side == Side.TRAIN and image.id not in seen and not label.unedited
    return row_of(parts, label, image).model_copy(
        update={"side": "evaluate" if side == Side.EVALUATE else "train", "fresh": fresh, "cohort": cohort(image)}
    )


def row_of(parts: Parts, label: Label, image: Image) -> SnapshotRow:
    """Return a label that has bytes of its own, with its image, as a row of the training side."""
    sha256 = str(label.blob)
    return SnapshotRow(
        dataset=image.dataset_id,
        image=image.id,
        image_fingerprint=image.fingerprint,
        label=label.id,
        label_sha256=sha256,
        label_ending=ending_in(parts.blobs.path(sha256)) or ".nii.gz",
        side="train",
        patient=image.patient_key,
        names={str(value): str(name) for value, name in label.names.items()},
        annotated=label.annotated,
    )


def _other(parts: Parts, label: Label, side_of: Mapping[str, str], session: Session) -> OtherLabel:
    image = session.get_one(Image, label.image_id)
    said = json.loads(parts.blobs.read_bytes(label.blob)) if label.blob is not None else {}
    side = side_of.get(image.patient_key)
    return OtherLabel(dataset=image.dataset_id, image=image.id, label=label.id, kind=label.kind, said=said, side=side)


def _with_validation(rows: list[SnapshotRow], lineage: str) -> list[SnapshotRow]:
    patients = len({row.patient for row in rows if row.side == "train"})
    return [
        row.model_copy(update={"side": "validate"})
        if row.side == "train" and validates(lineage, row.patient, patients)
        else row
        for row in rows
    ]


def _start_version(session: Session, work: Work, experiment: Experiment) -> ModelVersion | None:
    """Return the version to start from: one by its id, the first (None = the bundle itself), or the published one."""
    start = work.spec.train.start_from
    if start not in {"auto", "base", "published"}:
        return session.get_one(ModelVersion, start)
    if start == "base" or (start == "auto" and work.weights_policy != "random"):
        first = select(ModelVersion).where(ModelVersion.experiment_id == experiment.id, ModelVersion.number == 0)
        version = session.scalar(first)
        return version if version is not None and version.weights is not None else None
    return session.get(ModelVersion, experiment.published_version or "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
