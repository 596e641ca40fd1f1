"""A round as a table for people: Prefect shows it as an artifact."""

from infra.adapters.catalog import jobs
from infra.wiring import Parts
from tasks.rounds.records.result import CohortResult, RoundResult, VersionScores

Row = dict[str, str]


def links(parts: Parts, job_id: str) -> str:
    """Return, as Markdown, the ways to a job's page and to its run in MLflow."""
    ours = parts.settings.public_url.rstrip("/")
    return f"[The job]({ours}/jobs/{job_id}) · [its run in MLflow]({ours}/mlflow/jobs/{job_id})"


def round_table(parts: Parts, job_id: str) -> tuple[str, list[Row]]:
    """Return a sentence and the rows of a finished round's table.

    First what the key metric is made of, a label a row, before and after; then each cohort of evaluation cases, with
    what the challenger has forgotten of it.
    """
    with parts.catalog.read() as session:
        job = jobs.get(session, job_id)
    result = RoundResult.model_validate(job.result)
    title = f"Round {job.round_no}" if job.round_no else "Training"
    became = f"{title}: {result.decision or job.status}."
    sentences = [became, result.reason, *_measured(result), result.left_out_told()]
    return " ".join(filter(None, sentences)), [*_labels(result), *(_cohort(cohort) for cohort in result.cohorts)]


def _measured(result: RoundResult) -> list[str]:
    if result.metric_kind is None:
        return []
    reused = f", {result.scores_reused} scores reused" if result.scores_reused else ""
    head = ["The output layer was made anew for these labels."] if result.head_rebuilt else []
    return [f"{result.metric_name} ({result.metric_kind}) on {result.metric_cases} cases{reused}.", *head]


def _labels(result: RoundResult) -> list[Row]:
    before, after = result.published or VersionScores(version=None), result.challenger or VersionScores(version=None)
    names = sorted({*before.per_label, *after.per_label})
    rows = [_row(name, before.per_label.get(name), after.per_label.get(name)) for name in names]
    return [_row("mean", before.mean, after.mean), *rows]


def _cohort(cohort: CohortResult) -> Row:
    name = f"cohort {cohort.cohort} ({cohort.cases} cases)"
    return _row(name, cohort.published.mean, cohort.challenger.mean, cohort.forgetting)


def _row(name: str, before: float | None, after: float | None, forgotten: float | None = None) -> Row:
    return {
        "label": name,
        "published": _shown(before),
        "challenger": _shown(after),
        "forgetting": _shown(forgotten),
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
