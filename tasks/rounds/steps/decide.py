"""Publish: the gate judges, and its verdict is carried out in one step."""

from configs.failpoints import fail_point
from infra.wiring import Parts
from tasks.publishing.gate import Verdict, judge
from tasks.publishing.publish import keep_back, publish_challenger
from tasks.rounds.steps.evaluate import AGAIN, Evaluation, evaluate_again, read_evaluation
from tasks.rounds.steps.work import Claim, Lease, Work, open_work, step_done

UPLOADED = "its weights were uploaded, and nobody here knows whether they were trained on these cases"


def decide(parts: Parts, held: Claim, lease: Lease, snapshot_sha256: str, evaluation_sha256: str) -> str:
    """Publish the challenger or keep it back, and return the hash of the evaluation that decided.

    If another version was published during the evaluation, the challenger is compared with that one, once.

    Raises:
        SupersededError: If the attempt may no longer write.
    """
    work = open_work(parts, held)
    # An attempt before this one may have judged twice, and died after carrying that out.
    evaluation_sha256 = step_done(parts, held, AGAIN) or evaluation_sha256
    evaluation = read_evaluation(parts, evaluation_sha256)
    if _carry_out(parts, work, evaluation) != "stale":
        return evaluation_sha256
    again = evaluate_again(parts, held, lease, snapshot_sha256, evaluation.challenger)
    evaluation = read_evaluation(parts, again)
    if _carry_out(parts, work, evaluation) == "stale":
        verdict = _judge(work, evaluation)
        reason = "another version was published twice during the evaluation"
        kept = verdict.model_copy(update={"outcome": "kept_back", "reason": reason})
        parts.catalog.unit(lambda session: keep_back(session, held.job_id, held.n, kept))
    return again


def _carry_out(parts: Parts, work: Work, evaluation: Evaluation) -> str:
    verdict = _judge(work, evaluation)
    done = parts.catalog.unit(
        lambda session: publish_challenger(
            session,
            work.claim.job_id,
            work.claim.n,
            challenger=evaluation.challenger,
            compared_with=evaluation.published,
            verdict=verdict,
        )
    )
    fail_point(parts.settings, "published")
    return done


def _judge(work: Work, evaluation: Evaluation) -> Verdict:
    verdict = judge(work.spec.publish, work.spec.gate, evaluation.pairs(), evaluation.trained_on())
    if work.spec.uploaded is None:
        return verdict
    return verdict.model_copy(update={"reason": f"{verdict.reason}; {UPLOADED}"})
