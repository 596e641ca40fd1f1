"""`teachback models`: model versions, and which one is served."""

from typing import Annotated

import typer
from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.own import of_each
from infra.doors.cli.terminal import listing_noun, publication, show_table, terminal, when

app = listing_noun()

ExperimentOption = Annotated[str, typer.Option("--experiment", help="Name or id; default: every experiment.")]

VersionArgument = Annotated[str, typer.Argument(help="Id of the version, as `teachback models` lists it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


class _Metrics(BaseModel):
    key_metric: float | None = None
    metric_kind: str | None = None


class _Version(BaseModel):
    id: str
    number: int
    metrics: _Metrics
    created_at: float
    published: bool
    decision: str | None


class _Publication(BaseModel):
    seq: int
    version_id: str


class _Models(BaseModel):
    experiment: str
    mlflow_model: str
    versions: list[_Version]
    publications: list[_Publication]

    def newest_publication(self, version: str) -> int | None:
        """Return the number of a version's last publication; None if it never was served."""
        return max((each.seq for each in self.publications if each.version_id == version), default=None)


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    experiment: ExperimentOption = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List model versions, the newest first: v0 is what the experiment began with, v1 was trained first.

    Publications have numbers of their own, such as #3: each change of what is served, rollbacks among them.

    For example:

        teachback models --experiment "studies sample"
    """
    if context.invoked_subcommand is not None:
        return
    with Client.of(url, key, home) as client:
        answers = of_each(client, f"{OURS}/models", experiment)
        found = [client.get_as(_Models, answer) for answer in answers]
    show_table(
        "Model versions",
        {
            "experiment": lambda pair: pair[0].experiment,
            "version": lambda pair: f"v{pair[1].number}",
            "served": lambda pair: pair[1].published,
            "publication": lambda pair: publication(pair[0].newest_publication(pair[1].id)),
            "decision": lambda pair: pair[1].decision,
            "metric": lambda pair: pair[1].metrics.key_metric,
            "kind": lambda pair: pair[1].metrics.metric_kind,
            "made": lambda pair: when(pair[1].created_at),
            "id": lambda pair: pair[1].id,
        },
        [(one, row) for one in found for row in one.versions],
        none="No experiment yet.",
        as_json=[answer.json() for answer in answers] if as_json else None,
    )
    for one in found:
        said = f"{one.experiment} in MLflow: models:/{one.mlflow_model}@published"
        terminal(stderr=True).print(said, markup=False, soft_wrap=True)


@app.command()
def publish(
    version: VersionArgument,
    compared_with: Annotated[
        str, typer.Option("--compared-with", help="The version that you saw as served; refused if it no longer is.")
    ] = "",
    reason: ReasonOption = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Serve a version: one that waits for review, was kept back, or is older.

    For example:

        teachback models publish 5a3e…c1 --reason "better on follow-ups"
    """
    with Client.of(url, key, home) as client:
        body = {"version": version, "compared_with": compared_with or None, "reason": reason}
        done = client.get_as(_Publication, client.request("POST", f"{OURS}/models:publish", json=body))
    _say_served(done)


def _say_served(done: _Publication) -> None:
    said = f"Version {done.version_id} is served now: publication {publication(done.seq)}."
    terminal(stderr=True).print(said, markup=False)


@app.command()
def decline(
    version: VersionArgument,
    reason: ReasonOption = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Keep a version that waits for review from being served."""
    with Client.of(url, key, home) as client:
        client.request("POST", f"{OURS}/models:decline", json={"version": version, "reason": reason})
    terminal(stderr=True).print(f"Version {version} is declined; what is served stays.", markup=False)


@app.command()
def rollback(
    experiment: Annotated[str, typer.Argument(help="Name or id.")],
    reason: ReasonOption = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Serve again what was served before the present version."""
    with Client.of(url, key, home) as client:
        body = {"experiment": experiment, "reason": reason}
        done = client.get_as(_Publication, client.request("POST", f"{OURS}/models:rollback", json=body))
    _say_served(done)
