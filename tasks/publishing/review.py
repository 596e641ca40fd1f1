"""A challenger that waits for a person: published, or declined."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, NotFoundError
from infra.adapters.catalog import audit, jobs, outbox
from infra.adapters.catalog.tables import Decision, Experiment, Job, ModelVersion

REVIEW, DECLINED, PUBLISHED = "review", "declined", "published"


def decline(session: Session, experiment_id: str, version_id: str, *, actor: str, reason: str) -> Decision:
    """Keep a challenger that waits for a person from being served.

    Raises:
        NotFoundError: If the experiment has no such version.
        ConflictError: If the version does not wait for a person, or no longer.
    """
    version = session.get(ModelVersion, version_id)
    if version is None or version.experiment_id != experiment_id:
        raise NotFoundError("model version", version_id)
    if version.job_id is not None:
        jobs.locked_with_loop(session, version.job_id)
    decision = session.get(Decision, version.job_id) if version.job_id else None
    if decision is None or decision.outcome != REVIEW:
        found = f"its decision is {decision.outcome}" if decision else "no decision about it was left to a person"
        raise ConflictError(f"Version {version_id} does not wait for a person: {found}.")
    _settle(session, decision, DECLINED, reason or f"declined by {actor}")
    org = session.get_one(Experiment, experiment_id).org or ""
    audit.record(session, org, actor, "decline", experiment_id, version=version_id, reason=reason)
    return decision


def note_publication(session: Session, job_id: str, actor: str, reason: str) -> None:
    """Settle the decision about a job's challenger, if one was waiting or against it: a person has published it."""
    decision = session.get(Decision, job_id)
    if decision is not None and decision.outcome != PUBLISHED:
        _settle(session, decision, PUBLISHED, reason or f"published by {actor}")


def waiting(session: Session, experiment_id: str) -> list[str]:
    """Return the experiment's versions that wait for a person, the oldest first."""
    query = (
        select(ModelVersion.id)
        .join(Decision, Decision.job_id == ModelVersion.job_id)
        .where(ModelVersion.experiment_id == experiment_id, Decision.outcome == REVIEW)
    )
    return list(session.scalars(query.order_by(ModelVersion.number)))


def _settle(session: Session, decision: Decision, outcome: str, reason: str) -> None:
    """Write what a person decided where the job's readers look; the verdict that was given stays."""
    decision.outcome, decision.reason = outcome, reason
    job = session.get_one(Job, decision.job_id)
    if "decision" in job.result:  # else the round is about to finish, and reads the decision itself
        decided = {"decision": outcome, "reason": reason}
        loop = session.get(Job, job.parent_id) if job.parent_id else None
        if loop is not None and job.result.items() <= loop.result.items():  # it shows its last round's
            loop.result = {**loop.result, **decided}
        job.result, job.message = {**job.result, **decided}, reason
    outbox.enqueue(session, outbox.OutboxKind.TRACKING, job.id)
