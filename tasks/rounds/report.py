"""A round as a table for people: Prefect shows it as an artifact."""

from infra.adapters.catalog import jobs
from infra.wiring import Parts
from tasks.rounds.result import RoundResult, VersionScores
from tasks.rounds.work import Claim

Row = dict[str, str]


def round_table(parts: Parts, held: Claim) -> tuple[str, list[Row]]:
    """Return a sentence and the rows of a finished round's table: a label a row, its Dice before and after."""
    with parts.catalog.read() as session:
        job = jobs.get(session, held.job_id)
    result = RoundResult.model_validate(job.result)
    title = f"Round {job.round_no}" if job.round_no else "Training"
    sentence = f"{title}: {result.decision or job.status}. {result.reason}"
    before, after = result.published or VersionScores(version=None), result.challenger or VersionScores(version=None)
    names = sorted({*before.per_label, *after.per_label})
    rows = [_row(name, before.per_label.get(name), after.per_label.get(name)) for name in names]
    return sentence, [_row("mean", before.mean, after.mean), *rows]


def _row(name: str, before: float | None, after: float | None) -> Row:
    return {"label": name, "published (Dice)": _shown(before), "challenger (Dice)": _shown(after)}


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
