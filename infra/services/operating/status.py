"""How the installation is: what runs, what waits, what is stuck."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from configs.specs.annotation import AnnotationSpec
from configs.states import TERMINAL, LabelState
from configs.wire.status import Counts, Health, LoopStatus, SlotStatus, Status
from infra.adapters.catalog import datasets, jobs, outbox
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Job, Label, Slot
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.images.health import DEGRADED


def status(parts: Parts, caller: Caller) -> Status:
    """Return how things are for the caller's organisation."""
    allow(caller, Right.READ)
    # Outside of the transaction: a server that is down takes seconds to say nothing.
    healthy = parts.orchestrator.healthy()
    with parts.catalog.read() as session:
        return Status(
            counts=_counts(session, caller.org),
            loops=_loops(session, caller.org),
            slots=_slots(session, caller.org),
            health=Health(
                orchestrator=healthy,
                stuck_deliveries=len(outbox.stuck(session)),
                isolation=parts.hosts.level,
                degraded={
                    row.name: row.state_reason for row in datasets.listed(session, caller.org) if row.state == DEGRADED
                },
            ),
        )


def alive(parts: Parts) -> bool:
    """Say whether the catalog answers; raises what it raises if it does not."""
    with parts.catalog.read() as session:
        return bool(session.scalar(select(1)) == 1)


def _counts(session: Session, org: str) -> Counts:
    living = (Dataset.org == org, Dataset.deleted_at.is_(None))
    mine = select(Dataset.id).where(*living).scalar_subquery()
    images = _number(session.scalar(select(func.sum(Dataset.images)).where(*living)))
    closed = session.scalar(select(func.count()).where(Image.dataset_id.in_(mine), Image.open.is_(False)))
    labels = select(func.count()).where(Label.dataset_id.in_(mine))
    uploads = _number(session.scalar(labels.where(Label.upload_pending)))
    unchecked = labels.where(Label.state == LabelState.PENDING_UPLOAD, ~Label.upload_pending)
    experiments = select(func.count()).where(Experiment.org == org, Experiment.deleted_at.is_(None))
    running = select(func.count()).where(Job.org == org, Job.status.not_in(TERMINAL))
    return Counts(
        datasets=_number(session.scalar(select(func.count()).where(Dataset.id.in_(mine)))),
        images=images,
        images_waiting=images - _number(closed),
        labels=_number(session.scalar(labels.where(Label.state == LabelState.ACTIVE))),
        quarantined=_number(session.scalar(labels.where(Label.state == LabelState.QUARANTINED))),
        pending_uploads=uploads + _number(session.scalar(unchecked)),
        sent_back=_number(session.scalar(labels.where(Label.state == LabelState.SENT_BACK))),
        experiments=_number(session.scalar(experiments)),
        open_jobs=_number(session.scalar(running)),
    )


def _number(found: int | None) -> int:
    return found or 0


def _loops(session: Session, org: str) -> list[LoopStatus]:
    query = (
        select(Job, Experiment.name)
        .join(Experiment, Experiment.id == Job.experiment_id)
        .where(Job.org == org, Job.action == "annotation", Job.status.not_in(TERMINAL))
        .order_by(Job.created_at)
    )
    return [_loop(session, job, name) for job, name in session.execute(query)]


def _loop(session: Session, job: Job, experiment: str) -> LoopStatus:
    spec = AnnotationSpec.model_validate(job.spec)
    child = jobs.open_child(session, job.id)
    return LoopStatus(
        job_id=job.id,
        experiment_id=job.experiment_id,
        experiment=experiment,
        status=job.status,
        message=job.message,
        pending=job.pending,
        round_size=spec.round_size,
        rounds_done=job.rounds_done,
        max_rounds=spec.stop_criteria.max_rounds,
        best_metric=job.best_metric,
        open_round=child.round_no if child else None,
    )


def _slots(session: Session, org: str) -> list[SlotStatus]:
    query = (
        select(Slot, Experiment.name, Experiment.published_seq)
        .join(Experiment, Experiment.id == Slot.experiment_id)
        .where(Slot.org == org)
        .order_by(Slot.created_at)
    )
    return [
        SlotStatus(
            id=slot.id,
            experiment_id=slot.experiment_id,
            experiment=name,
            replica=slot.replica,
            desired=slot.desired,
            state=slot.state,
            serving_seq=slot.serving_seq,
            published_seq=seq,
            error=slot.error,
        )
        for slot, name, seq in session.execute(query)
    ]
