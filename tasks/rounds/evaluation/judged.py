"""What an evaluation says in a round's result: the key metric, the cohorts, and what was forgotten."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.specs.round import RoundSpec
from configs.states import JobStatus
from infra.adapters.catalog.tables import Job
from tasks.rounds.records.result import CohortResult, RoundResult, VersionScores
from tasks.rounds.steps.evaluate import Evaluation, summary


def earlier_results(session: Session, job: Job) -> list[RoundResult]:
    """Return the results of the experiment's rounds and trainings before this one, or before the one that it reruns.

    Reruns are not among them: what they measure was counted with the round that they repeat. Nor are uploads: what is
    measured with them is counted with the round that learns those labels.
    """
    query = select(Job.spec, Job.result).where(
        Job.experiment_id == job.experiment_id, Job.action == "train", Job.status == JobStatus.DONE, Job.id != job.id
    )
    original = session.get(Job, RoundSpec.model_validate(job.spec).rerun_of or "")
    if original is not None:
        query = query.where(Job.created_at < original.created_at)
    found = session.execute(query.order_by(Job.created_at, Job.id)).all()
    read = [(RoundSpec.model_validate(spec), RoundResult.model_validate(result)) for spec, result in found]
    return [result for spec, result in read if spec.rerun_of is None and spec.uploaded is None]


def judged(evaluation: Evaluation, min_cases: int, earlier: Sequence[RoundResult]) -> dict[str, Any]:
    """Return the fields of a round's result that an evaluation decides.

    Args:
        evaluation: What was measured.
        min_cases: Evaluation cases from which the hold-out is the metric.
        earlier: The experiment's results before.
    """
    kind, cases = evaluation.metric(min_cases)
    held_out = kind == "holdout"
    published = summary(evaluation.published, evaluation.published_scores, cases)
    # A challenger has trained on prequential cases: there only the published version's number means anything.
    challenger = summary(evaluation.challenger, evaluation.challenger_scores, cases) if held_out else None
    shown = challenger or published
    cohorts = [_cohort(evaluation, name, earlier) for name in sorted({*evaluation.cohorts.values()})]
    lost = [cohort.forgetting for cohort in cohorts if cohort.forgetting is not None]
    return {
        "metric_kind": kind,
        "metric_name": evaluation.metric_name(),
        "metric_cases": len(cases),
        "key_metric": shown.mean,
        "published": published,
        "challenger": challenger,
        "cohorts": cohorts,
        "forgetting": max(lost, default=None),
        "scores_reused": evaluation.reused,
        **_prequential(published, len(cases) if not held_out else 0, earlier),
    }


def _cohort(evaluation: Evaluation, name: str, earlier: Sequence[RoundResult]) -> CohortResult:
    cases = [case for case in evaluation.held_out if evaluation.cohorts[case] == name]
    published = summary(evaluation.published, evaluation.published_scores, cases)
    challenger = summary(evaluation.challenger, evaluation.challenger_scores, cases)
    served = [published, *_served(name, earlier)]
    best = _best(scores.mean for scores in served)
    lost = {
        label: before - now
        for label, now in challenger.per_label.items()
        if now is not None and (before := _best(scores.per_label.get(label) for scores in served)) is not None
    }
    return CohortResult(
        cohort=name,
        cases=len(cases),
        published=published,
        challenger=challenger,
        best_earlier=best,
        forgetting=None if best is None or challenger.mean is None else best - challenger.mean,
        forgetting_per_label=lost,
    )


def _served(name: str, earlier: Sequence[RoundResult]) -> list[VersionScores]:
    """Return the scores on a cohort of versions that people were served, as they were measured then."""
    found = []
    for result in earlier:
        for cohort in result.cohorts:
            if cohort.cohort == name:
                found.append(cohort.published)
                found += [cohort.challenger] if result.decision == "published" else []
    return found


def _prequential(published: VersionScores, cases: int, earlier: Sequence[RoundResult]) -> dict[str, Any]:
    """Return the running prequential mean over rounds, and how many new labels it is over."""
    before = next((result for result in reversed(earlier) if result.prequential_cases), RoundResult())
    total, count = (before.prequential_mean or 0.0) * before.prequential_cases, before.prequential_cases
    if published.mean is not None and cases:
        total, count = total + published.mean * cases, count + cases
    return {"prequential_mean": total / count if count else None, "prequential_cases": count}


def _best(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
