"""`teachback rounds`: what each round learned, and whether it was published."""

import time
from typing import Annotated

import typer
from pydantic import BaseModel

from configs.states import TERMINAL
from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.own import of_each
from infra.doors.cli.terminal import listing_noun, show_json, show_table, terminal

app = listing_noun()

_ASK_EVERY_S = 2.0
ExperimentOption = Annotated[str, typer.Option("--experiment", help="Name or id; default: every experiment.")]


class _Scores(BaseModel):
    mean: float | None = None


class _Round(BaseModel):
    job_id: str
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


class _Rerun(BaseModel):
    job_id: str


class _Number(BaseModel):
    name: str
    before: float | None
    after: float | None

    @property
    def difference(self) -> float | None:
        """Again minus before."""
        return None if self.before is None or self.after is None else self.after - self.before


class _Difference(BaseModel):
    status: str
    message: str
    same_weights: bool | None
    numbers: list[_Number]


@app.callback(invoke_without_command=True)
def rounds(
    context: typer.Context,
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
    if context.invoked_subcommand is not None:
        return
    with Client.of(url, key, home) as client:
        answers = of_each(client, f"{OURS}/rounds", experiment)
        found = [client.get_as(_Rounds, answer) for answer in answers]
    show_table(
        "Rounds",
        {
            "experiment": lambda pair: pair[0],
            "job": lambda pair: pair[1].job_id,
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
        as_json=[answer.json() for answer in answers] if as_json else None,
    )


@app.command()
def rerun(
    job_id: Annotated[str, typer.Argument(metavar="ROUND", help="Its job, as `teachback rounds` shows it.")],
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a round again from its snapshot, with the same seeds, and show what came out differently.

    Nothing is published, and no label counts as used. On a processor the weights are the same, bit by bit, as long as
    software, bundle and number of threads are; on a GPU look at the numbers.
    """
    with Client.of(url, key, home) as client:
        path = f"{OURS}/rounds"
        made = client.get_as(_Rerun, client.request("POST", f"{path}/{job_id}:rerun")).job_id
        terminal(stderr=True).print(f"Job {made} trains again; this waits for it.", markup=False)
        while True:
            answer = client.request("GET", f"{path}/{made}:difference")
            found = client.get_as(_Difference, answer)
            if found.status in TERMINAL:
                break
            time.sleep(_ASK_EVERY_S)
    if as_json:
        show_json(answer.json())
        return
    same = {True: "the same, bit by bit", False: "not the same bits", None: "missing"}[found.same_weights]
    terminal().print(f"{found.status}: the weights are {same}. {found.message}", markup=False)
    show_table(
        "Before and again",
        {
            "": lambda row: row.name,
            "before": lambda row: row.before,
            "again": lambda row: row.after,
            "difference": lambda row: row.difference,
        },
        found.numbers,
        none="No number to compare.",
    )
