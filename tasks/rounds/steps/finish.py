"""Finish: the round is done, and the same unit closes its loop or opens the next round."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.failpoints import fail_point
from configs.specs.annotation import AnnotationSpec
from configs.specs.round import RoundSpec
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.tables import Decision, Job, ModelVersion, Publication
from infra.adapters.catalog.workspaces import queue_results
from infra.wiring import Parts
from tasks.publishing.gate import Verdict
from tasks.rounds.count import open_round_if_due, say_if_out
from tasks.rounds.evaluation.judged import earlier_results, judged
from tasks.rounds.jobs import attempts, turns
from tasks.rounds.records.result import RoundResult
from tasks.rounds.records.snapshot import Snapshot
from tasks.rounds.steps.evaluate import Evaluation, read_evaluation
from tasks.rounds.steps.train import Trained, read_trained
from tasks.rounds.steps.work import Claim, open_work, read_snapshot

HELD_OUT = "no label is on the training side yet: they are kept for evaluation"
UNREADABLE = "none of the labels can be read in the experiment's label names, or their images are gone: check them"


def finish(parts: Parts, held: Claim, snapshot_sha256: str, evaluation_sha256: str | None) -> None:
    """Close the round with its result.

    Args:
        parts: The adapters.
        held: The attempt.
        snapshot_sha256: What the round trained on.
        evaluation_sha256: How it was judged; None = skipped, since there was no label to train on.

    Raises:
        SupersededError: If the attempt may no longer write.
    """
    work, snapshot = open_work(parts, held), read_snapshot(parts, snapshot_sha256)
    trained = read_trained(parts, held)
    evaluation = read_evaluation(parts, evaluation_sha256) if evaluation_sha256 else None

    def closed(session: Session) -> None:
        """End the round, and do all that follows from its end."""
        job = attempts.fence(session, held.job_id, held.n)
        result = _result(session, job, snapshot, trained, evaluation, work.spec.gate.min_cases)
        # In one unit with all that follows from it: no crash leaves a round done of which its loop knows nothing.
        _end(session, job, held, result)
        if evaluation is not None and trained is not None:
            _note_version(session, trained.version, result, evaluation_sha256)
            queue_results(session, job)
        if job.parent_id is not None:
            _close_or_continue(session, jobs.locked(session, job.parent_id), result)
        turns.pass_on(session, job.experiment_id)
        outbox.enqueue(session, outbox.OutboxKind.TRACKING, job.id)

    parts.catalog.unit(closed)
    fail_point(parts.settings, "finished")


def _result(
    session: Session,
    job: Job,
    snapshot: Snapshot,
    trained: Trained | None,
    evaluation: Evaluation | None,
    min_cases: int,
) -> RoundResult:
    result = RoundResult(
        labels=sum(row.dataset == job.dataset_id for row in snapshot.rows),
        training_cases=0 if snapshot.spec.uploaded else len(snapshot.side("train", "validate")),
        attempts=job.current_attempt,
    )
    if job.first_step_at is not None and job.due_at is not None:
        result = result.model_copy(update={"start_seconds": job.first_step_at - job.due_at})
    if trained is None or evaluation is None:
        only_held_out = snapshot.side("evaluate") and not snapshot.side("train")
        reason = HELD_OUT if only_held_out else UNREADABLE
        unread = [row.image for row in snapshot.side("train")]
        return result.model_copy(update={"decision": "skipped", "reason": reason, "left_out": unread})
    decision, reason, verdict = _decision(session, job.id)
    return result.model_copy(
        update={
            **judged(evaluation, min_cases, earlier_results(session, job)),
            "verdict": verdict,
            "decision": decision,
            "reason": reason,
            **trained.model_dump(exclude={"version", "left_out"}),
            "training_cases": result.training_cases - len(trained.left_out),
            "left_out": sorted(int(case) for case in {*trained.left_out, *evaluation.left_out}),
        }
    )


def _decision(session: Session, job_id: str) -> tuple[str, str, Verdict | None]:
    """Return what became of the challenger, why, and the verdict."""
    publication = session.scalar(select(Publication).where(Publication.job_id == job_id))
    if publication is not None:
        return "published", publication.reason, Verdict.model_validate(publication.verdict)
    decision = session.get(Decision, job_id)
    if decision is None:
        return "kept_back", "", None
    return decision.outcome, decision.reason, Verdict.model_validate(decision.verdict)


def _end(session: Session, job: Job, held: Claim, result: RoundResult) -> None:
    job.status = JobStatus.DONE
    job.message = ". ".join(filter(None, [result.reason, result.left_out_told()]))
    job.result = result.model_dump(mode="json")
    ended = jobs.attempt(session, held.job_id, held.n)
    if ended is not None:
        ended.state = AttemptState.ENDED
    if result.decision == "skipped" or RoundSpec.model_validate(job.spec).uploaded is not None:
        # Its labels go on waiting for a round that trains.
        job.to_seq = None
    if result.decision == "skipped":
        session.merge(Decision(job_id=job.id, outcome="skipped", reason=result.reason, verdict={}))


def _note_version(session: Session, version_id: str, result: RoundResult, evaluation: str | None) -> None:
    version = session.get_one(ModelVersion, version_id)
    version.results = evaluation
    version.metrics = result.model_dump(
        mode="json", include={"key_metric", "metric_kind", "metric_name", "metric_cases"}
    )


def _close_or_continue(session: Session, loop: Job, result: RoundResult) -> None:
    """Count the round unless it was skipped; end the loop if a criterion is met, else open the next round if due."""
    if loop.status in TERMINAL:
        return
    spec = AnnotationSpec.model_validate(loop.spec)
    if result.decision != "skipped":
        loop.rounds_done += 1
    if result.key_metric is not None and result.decision != "skipped":
        loop.best_metric = max(loop.best_metric if loop.best_metric is not None else -1.0, result.key_metric)
    loop.result = result.model_dump(mode="json") | {"rounds": loop.rounds_done}
    wanted = spec.stop_criteria
    if wanted.max_rounds is not None and loop.rounds_done >= wanted.max_rounds:
        loop.status, loop.message = JobStatus.DONE, f"{loop.rounds_done} rounds done"
    elif wanted.key_metric is not None and loop.best_metric is not None and loop.best_metric >= wanted.key_metric:
        loop.status, loop.message = JobStatus.DONE, f"key_metric {loop.best_metric:.4f} reached"
    else:
        open_round_if_due(session, loop)
        say_if_out(session, loop)
