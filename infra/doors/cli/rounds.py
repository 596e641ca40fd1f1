"""`teachback rounds`: what each round learned, and whether it was published."""

from typing import Annotated

import typer
from pydantic import BaseModel

from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.own import of_each
from infra.doors.cli.terminal import noun, show_json, show_table

app = noun("What each round learned, and whether it was published.")

ExperimentOption = Annotated[str, typer.Option("--experiment", help="Name or id; default: every experiment.")]


class _Scores(BaseModel):
    mean: float | None = None


class _Round(BaseModel):
    round: int | None
    status: str
    message: str
    labels: int
    metric_kind: str | None
    metric_cases: int
    published: _Scores | None
    challenger: _Scores | None
    forgetting: float | None
    decision: str | None
    train_seconds: float | None
    start_seconds: float | None


class _Rounds(BaseModel):
    experiment: str
    rounds: list[_Round]


@app.command()
def rounds(
    experiment: ExperimentOption = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List rounds and single trainings, the newest first; scores are over the metric's cases, 0 to 1.

    Forgetting is of the cohort that lost most; the message is the verdict, with its numbers.

    For example:

        teachback rounds --experiment "studies sample"
    """
    with Client.of(url, key, home) as client:
        answers = of_each(client, "/api/teachback/v1/rounds", experiment)
        found = [client.get_as(_Rounds, answer) for answer in answers]
    if as_json:
        show_json([answer.json() for answer in answers])
        return
    show_table(
        "Rounds",
        {
            "experiment": lambda pair: pair[0],
            "round": lambda pair: pair[1].round or "single",
            "status": lambda pair: pair[1].status,
            "labels": lambda pair: pair[1].labels,
            "metric": lambda pair: f"{pair[1].metric_kind} ({pair[1].metric_cases})" if pair[1].metric_kind else None,
            "published": lambda pair: pair[1].published and pair[1].published.mean,
            "challenger": lambda pair: pair[1].challenger and pair[1].challenger.mean,
            "forgetting": lambda pair: pair[1].forgetting,
            "decision": lambda pair: pair[1].decision,
            "training s": lambda pair: pair[1].train_seconds,
            "to first step s": lambda pair: pair[1].start_seconds,
            "message": lambda pair: pair[1].message,
        },
        [(one.experiment, row) for one in found for row in one.rounds],
        none="No round yet: one starts by itself when enough labels have come in.",
    )
