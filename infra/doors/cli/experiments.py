"""`teachback experiments`: bundles with their data sets and labels."""

from typing import Annotated

import typer
from pydantic import BaseModel

from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import noun, show_table

app = noun("Bundles with their data sets and labels.")

BaseOption = Annotated[bool, typer.Option("--base", help="The base experiments, one per registered bundle, instead.")]


class _Params(BaseModel):
    labels: dict[str, str] = {}


class _Experiment(BaseModel):
    id: str
    name: str
    network_arch: str
    realtime_infer: bool
    read_only: bool
    model_params: _Params = _Params()


@app.command()
def experiments(
    base: BaseOption = False,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the organisation's experiments, or the base experiments that new ones start from.

    For example:

        teachback experiments

        teachback experiments --base
    """
    with Client.of(url, key, home) as client:
        rows = client.get(client.cloud("experiments:base" if base else "experiments"))
        chosen = [row for row in rows if _Experiment.model_validate(row).read_only == base]
    show_table(
        "Base experiments" if base else "Experiments",
        {
            "id": lambda row: row.id,
            "name": lambda row: row.name,
            "architecture": lambda row: row.network_arch,
            "realtime": lambda row: row.realtime_infer,
            "labels": lambda row: ", ".join(row.model_params.labels.values()),
        },
        [_Experiment.model_validate(row) for row in chosen],
        none="No experiment yet: `teachback up --studies DIR`, or POST …/experiments with one of `--base`.",
        as_json=chosen if as_json else None,
    )
