"""`teachback models`: model versions, and which one is served."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.own import of_each
from infra.doors.cli.terminal import listing_noun, show_json, show_table, terminal

app = listing_noun()

ExperimentOption = Annotated[str, typer.Option("--experiment", help="Name or id; default: every experiment.")]


class _Metrics(BaseModel):
    key_metric: float | None = None
    metric_kind: str | None = None


class _Version(BaseModel):
    id: str
    number: int
    metrics: _Metrics
    created_at: float
    published: bool


class _Models(BaseModel):
    experiment: str
    versions: list[_Version]


class _Publication(BaseModel):
    seq: int
    version_id: str


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    experiment: ExperimentOption = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List model versions, the newest first.

    For example:

        teachback models --experiment "studies sample"
    """
    if context.invoked_subcommand is not None:
        return
    with Client.of(url, key, home) as client:
        answers = of_each(client, "/api/teachback/v1/models", experiment)
        found = [client.get_as(_Models, answer) for answer in answers]
    if as_json:
        show_json([answer.json() for answer in answers])
        return
    show_table(
        "Model versions",
        {
            "experiment": lambda pair: pair[0],
            "number": lambda pair: pair[1].number,
            "served": lambda pair: pair[1].published,
            "metric": lambda pair: pair[1].metrics.key_metric,
            "kind": lambda pair: pair[1].metrics.metric_kind,
            "made": lambda pair: datetime.fromtimestamp(pair[1].created_at, UTC).strftime("%Y-%m-%d %H:%M"),
            "id": lambda pair: pair[1].id,
        },
        [(one.experiment, row) for one in found for row in one.versions],
        none="No experiment yet.",
    )


@app.command()
def rollback(
    experiment: Annotated[str, typer.Argument(help="Name or id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")] = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Serve again what was served before the present version."""
    with Client.of(url, key, home) as client:
        body = {"experiment": experiment, "reason": reason}
        done = client.get_as(_Publication, client.request("POST", "/api/teachback/v1/models:rollback", json=body))
    terminal(stderr=True).print(f"Version {done.version_id} is published (change {done.seq}).", markup=False)
