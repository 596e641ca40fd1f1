"""The MLflow server that a training names, besides ours: whether it may be called, and that it is told."""

from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Job
from infra.wiring import Parts


def check(parts: Parts, spec: TrainSpec) -> None:
    """Refuse a spec whose tracking server must not be called.

    Raises:
        InvalidRequestError: If the address is no http(s) address, carries a login, or leads to a refused place.
        StoreError: If its name cannot be resolved.
    """
    if spec.tracked_at is None:
        return
    if "@" in urlsplit(spec.tracked_at).netloc:
        raise InvalidRequestError(
            "tracking_uri carries a user or password, and this installation logs in to no MLflow but its own: give the"
            " address of a server that takes runs without a login, or leave tracking_uri out"
        )
    parts.egress.check(spec.tracked_at)


def begin(session: Session, job: Job) -> None:
    """Have a training that begins, or goes on, written to the server that it names, if it names one."""
    if job.action != "train" or RoundSpec.model_validate(job.spec).train.tracked_at is None:
        return
    if not outbox.undelivered(session, OutboxKind.TRACKING_ELSEWHERE, job.id):
        outbox.enqueue(session, OutboxKind.TRACKING_ELSEWHERE, job.id)
