"""What the demo says in the end: a table for people, JSON for programs, a verdict for the exit status."""

from dataclasses import dataclass

from pydantic import BaseModel
from rich.table import Table

from infra.doors.cli.client import OURS, Client
from infra.doors.cli.play.cases import Score
from infra.doors.cli.studies import Named

CAVEAT = (
    "Every case is a random warp of one real head, made on this machine: this shows that the loop learns from "
    "corrected labels, not that a model would work on another patient."
)


class Scores(BaseModel):
    """Dice of one model version."""

    mean: float | None = None
    per_label: dict[str, float | None] = {}


class Verdict(BaseModel):
    """By which rule a challenger was published or kept back."""

    rule: str = ""
    reason: str = ""


class Round(BaseModel):
    """A round as our own dialect shows it; times are in seconds."""

    round: int | None
    status: str
    labels: int
    key_metric: float | None
    metric_kind: str | None
    metric_cases: int = 0
    published: Scores | None = None
    challenger: Scores | None = None
    decision: str | None = None
    verdict: Verdict | None = None
    train_seconds: float | None = None
    start_seconds: float | None = None


class _Rounds(BaseModel):
    rounds: list[Round]


class RoundLine(BaseModel):
    """A round in the JSON."""

    round: int | None
    labels: int
    key_metric: float | None
    metric_kind: str | None
    published: bool
    train_seconds: float | None
    start_seconds: float | None


class Summary(BaseModel):
    """The JSON: mean Dice, 0 to 1. `start`, `final`, `baseline` and `template` are on the held-out cases."""

    baseline: float
    template: float
    start: float
    final: float
    cases: int
    rounds: list[RoundLine]


@dataclass(frozen=True)
class Comparison:
    """On the held-out images: the model before and after, and what needs no model."""

    cases: int
    start: Score
    final: Score
    baseline: Score
    template: Score

    def failure(self) -> str:
        """Why the demo did not show what it is for, or nothing."""
        best = max(self.baseline.mean, self.template.mean)
        if self.final.mean <= best:
            return f"The final model's mean Dice {self.final.mean:.3f} does not beat {best:.3f}, which needs no model."
        if self.final.mean <= self.start.mean:
            return f"The mean Dice did not rise: {self.start.mean:.3f} before, {self.final.mean:.3f} after."
        return ""


def rounds_of(client: Client, experiment: Named) -> list[Round]:
    """Return the experiment's rounds, the first one first."""
    answer = client.request("GET", f"{OURS}/rounds", params={"experiment": experiment.id})
    found = [row for row in client.get_as(_Rounds, answer).rounds if row.round is not None]
    return sorted(found, key=lambda row: row.round or 0)


def rounds_table(rounds: list[Round], labels: list[str]) -> Table:
    """Return a line per round; Dice as `before → after`."""
    table = Table(title="Rounds", title_justify="left", header_style="bold")
    for heading in ("round", "labels", "metric", "mean Dice", *labels, "verdict", "training s", "to first step s"):
        table.add_column(heading, justify="left" if heading in {"metric", "verdict"} else "right")
    for row in rounds:
        table.add_row(
            str(row.round),
            str(row.labels),
            f"{row.metric_kind or '-'} ({row.metric_cases})",
            _change(row, "mean"),
            *(_change(row, label) for label in labels),
            (row.decision or row.status).replace("_", " "),
            _seconds(row.train_seconds),
            _seconds(row.start_seconds),
        )
    table.caption = "Dice of the published model → of the round's challenger, on the metric's cases."
    return table


def comparison_table(found: Comparison, labels: list[str]) -> Table:
    """Return the model before and after, beside what needs no model."""
    table = Table(
        title=f"On the {found.cases} held-out images, asked through the API", title_justify="left", header_style="bold"
    )
    table.add_column("")
    for heading in ("mean Dice", *labels):
        table.add_column(heading, justify="right")
    lines = {
        "model before the first round": found.start,
        "model after the last round": found.final,
        "thresholds on intensity": found.baseline,
        "the template's labels, copied": found.template,
    }
    for name, score in lines.items():
        table.add_row(name, f"{score.mean:.3f}", *(f"{score.per_label[label]:.3f}" for label in labels))
    return table


def summary(rounds: list[Round], found: Comparison) -> Summary:
    """Return what the JSON says."""
    lines = [
        RoundLine(
            round=row.round,
            labels=row.labels,
            key_metric=row.key_metric,
            metric_kind=row.metric_kind,
            published=row.decision == "published",
            train_seconds=row.train_seconds,
            start_seconds=row.start_seconds,
        )
        for row in rounds
    ]
    return Summary(
        baseline=found.baseline.mean,
        template=found.template.mean,
        start=found.start.mean,
        final=found.final.mean,
        cases=found.cases,
        rounds=lines,
    )


def _change(row: Round, name: str) -> str:
    both = [scores for scores in (row.published, row.challenger) if scores is not None]
    values = [scores.mean if name == "mean" else scores.per_label.get(name) for scores in both]
    return " → ".join("-" if value is None else f"{value:.3f}" for value in values) or "-"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
