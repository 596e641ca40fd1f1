"""A round's result as numbers that can be drawn: by label, by cohort, before and after."""

from collections.abc import Iterator

from infra.adapters.catalog.tables import Job
from infra.adapters.tracking.base import MetricPoint
from tasks.rounds.records.result import RoundResult, VersionScores

_PLAIN = ("verdict", "published", "challenger", "cohorts")


def result_points(job: Job, step: int) -> list[MetricPoint]:
    """Return the numbers of a round that has ended, at one step.

    Said again they are the same points: their time is the job's own.
    """
    result = RoundResult.model_validate(job.result)
    numbers = result.model_dump(mode="json", exclude=set(_PLAIN))
    plain = {f"result/{name}": value for name, value in numbers.items() if isinstance(value, int | float)}
    found = {**plain, **dict(_measured(result))}
    return [MetricPoint(name, float(value), step, job.created_at) for name, value in found.items()]


def _measured(result: RoundResult) -> Iterator[tuple[str, float]]:
    yield from _scores("", "published", result.published)
    yield from _scores("", "challenger", result.challenger)
    for cohort in result.cohorts:
        above = f"cohort/{cohort.cohort.replace('/', ' ')}/"
        yield f"{above}cases", cohort.cases
        yield from _scores(above, "published", cohort.published)
        yield from _scores(above, "challenger", cohort.challenger)
        if cohort.forgetting is not None:
            yield f"{above}forgetting", cohort.forgetting
        for label, value in cohort.forgetting_per_label.items():
            yield f"{above}forgetting/label/{label}", value


def _scores(above: str, whose: str, scores: VersionScores | None) -> Iterator[tuple[str, float]]:
    if scores is None:
        return
    if scores.mean is not None:
        yield f"{above}{whose}/mean", scores.mean
    for label, value in scores.per_label.items():
        if value is not None:
            yield f"{above}{whose}/label/{label}", value
