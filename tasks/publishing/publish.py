"""The published pointer, changed in one step: by a round, by a person, or back to an older version."""

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, NotFoundError
from infra.adapters.catalog import audit, jobs, outbox
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Decision, Experiment, ModelVersion, Publication
from tasks.publishing.gate import Verdict
from tasks.publishing.review import note_publication
from tasks.rounds.jobs.attempts import fence

Published = Literal["published", "decided", "stale"]


def publish_challenger(
    session: Session, job_id: str, n: int, *, challenger: str, compared_with: str | None, verdict: Verdict
) -> Published:
    """Carry a round's verdict out, once; a repeat after a crash finds it done.

    Args:
        session: A unit.
        job_id: The round.
        n: Its attempt.
        challenger: The round's model version.
        compared_with: The version that was published when the challenger was judged.
        verdict: What the gate decided.

    Returns:
        `stale` if another version was published meanwhile: nothing was written, judge again.

    Raises:
        SupersededError: If the attempt may no longer write.
    """
    # Job before experiment: everybody takes these rows in this order.
    job = fence(session, job_id, n)
    experiment = _locked(session, job.experiment_id)
    done = session.scalar(select(Publication).where(Publication.job_id == job_id))
    if done is not None:
        return "published"
    if session.get(Decision, job_id) is not None:
        return "decided"
    # What publishes nothing may be compared with any version; a rerun is, with that of its round.
    if verdict.rule != "none" and experiment.published_version != compared_with:
        return "stale"
    shown = verdict.model_dump(mode="json")
    if verdict.outcome != "publish":
        session.add(Decision(job_id=job_id, outcome=verdict.outcome, reason=verdict.told(), verdict=shown))
        return "decided"
    _publish(session, experiment, challenger, by="gate", reason=verdict.told(), verdict=shown, job_id=job_id)
    return "published"


def keep_back(session: Session, job_id: str, n: int, verdict: Verdict) -> None:
    """Record that a challenger was not published.

    Raises:
        SupersededError: If the attempt may no longer write.
    """
    fence(session, job_id, n)
    if session.get(Decision, job_id) is None:
        shown = verdict.model_dump(mode="json")
        session.add(Decision(job_id=job_id, outcome="kept_back", reason=verdict.told(), verdict=shown))


def publish_by_person(
    session: Session, experiment_id: str, version_id: str, *, expected: str | None, actor: str, reason: str
) -> Publication:
    """Publish a version because a person says so; an older one is a rollback.

    Args:
        session: A unit.
        experiment_id: The experiment.
        version_id: What to publish.
        expected: The version that the person saw as published.
        actor: Who.
        reason: Why, for the record.

    Raises:
        NotFoundError: If the experiment has no such version.
        ConflictError: If another version has been published since the person looked.
    """
    version = session.get(ModelVersion, version_id)
    if version is None or version.experiment_id != experiment_id:
        raise NotFoundError("model version", version_id)
    if version.job_id is not None:
        jobs.locked_with_loop(session, version.job_id)  # before the experiment, as everybody does
    experiment = _locked(session, experiment_id)
    if experiment.published_version != expected:
        raise ConflictError(
            f"Version {experiment.published_version} has been published since you looked: reload and decide again."
        )
    publication = _publish(session, experiment, version_id, by=actor, reason=reason, verdict={}, job_id=None)
    if version.job_id is not None:
        note_publication(session, version.job_id, actor, reason)
    audit.record(session, experiment.org or "", actor, "publish", experiment_id, version=version_id, reason=reason)
    return publication


def before(publications: Sequence[Publication]) -> str | None:
    """Return what a rollback publishes: what was served before the present version was first put in front of it.

    A publication of what was served just before is the way back; so rolling back twice goes two steps back.

    Args:
        publications: The experiment's, in whatever order.
    """
    served: list[str] = []
    for publication in sorted(publications, key=lambda one: one.seq):
        if served[-2:-1] == [publication.version_id]:
            served.pop()
        else:
            if publication.previous_id is not None and not served:
                served.append(publication.previous_id)
            served.append(publication.version_id)
    return served[-2] if len(served) > 1 else None


def _publish(
    session: Session,
    experiment: Experiment,
    version: str,
    *,
    by: str,
    reason: str,
    verdict: dict[str, Any],
    job_id: str | None,
) -> Publication:
    previous = experiment.published_version
    experiment.published_version = version
    # It rises also when an older version comes back: slots compare numbers, not versions.
    experiment.published_seq += 1
    publication = Publication(
        experiment_id=experiment.id,
        seq=experiment.published_seq,
        version_id=version,
        previous_id=previous,
        job_id=job_id,
        by=by,
        reason=reason,
        verdict=verdict,
    )
    session.add(publication)
    # Slots are not told: each sees the number by its next heartbeat, two seconds away at most.
    outbox.enqueue(session, outbox.OutboxKind.TRACKING, job_id or experiment.id)
    return publication


def _locked(session: Session, experiment_id: str) -> Experiment:
    experiment = session.scalar(lock(session, select(Experiment).where(Experiment.id == experiment_id)))
    if experiment is None:
        raise NotFoundError("experiment", experiment_id)
    return experiment
