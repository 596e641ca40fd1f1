"""`teachback hooks`: who is told what happens here, and which PACS tells us."""

from typing import Annotated

import typer
from pydantic import BaseModel

from configs.errors import InvalidRequestError
from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import lines, noun, show_json, show_table, terminal, when

app = noun(
    "Webhooks: tell others what happens here; let a PACS tell of new series.",
    "teachback hooks create https://ward.example/teachback",
)
PATH = f"{OURS}/hooks"
HookId = Annotated[str, typer.Argument(metavar="ID", help="As `teachback hooks list` shows it.")]


class _Hook(BaseModel):
    id: str
    direction: str
    url: str | None
    path: str | None
    events: list[str]
    worked_at: float | None
    error: str


class _NewHook(_Hook):
    secret: str


@app.command()
def create(
    address: Annotated[str, typer.Argument(metavar="[URL]", help="Who is to be told.")] = "",
    events: Annotated[str, typer.Option("--events", help="Names or patterns, with commas.")] = "round.*",
    dataset: Annotated[
        str, typer.Option("--dataset", help="Instead of URL: let a PACS tell of this data set's new series.")
    ] = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a webhook and print its signing secret, which is shown now and never again.

    Events: job.state, round.finished, round.published, round.kept_back, round.skipped, round.failed, label.saved,
    label.removed, dataset.degraded.

    For example:

        teachback hooks create https://hospital.example/teachback --events "round.*,dataset.degraded"

        teachback hooks create --dataset PACS
    """
    if bool(address) == bool(dataset):
        raise InvalidRequestError("Give either the URL of who is to be told, or --dataset.")
    wanted = [name.strip() for name in events.split(",") if name.strip()]
    body = {"dataset": dataset} if dataset else {"url": address, "events": wanted}
    with Client.of(url, key, home) as client:
        answer = client.request("POST", PATH, json=body)
        made = client.get_as(_NewHook, answer)
        _show_new(made, client.url, answer.json() if as_json else None)


@app.command("list")
def list_(url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the organisation's webhooks: never the secrets."""
    with Client.of(url, key, home) as client:
        answer = client.request("GET", PATH)
        rows = client.get_as(list[_Hook], answer)
    show_table(
        "Webhooks",
        {
            "id": lambda row: row.id,
            "direction": lambda row: row.direction,
            "address": lambda row: row.url or row.path,
            "events": lambda row: ", ".join(row.events),
            "last worked": lambda row: when(row.worked_at),
            "error": lambda row: row.error,
        },
        rows,
        none="No webhook yet: `teachback hooks create URL`, or `--dataset NAME` for a PACS.",
        as_json=answer.json() if as_json else None,
    )


@app.command()
def rotate(
    hook_id: HookId, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Print a new secret; the one before is good for another 24 hours."""
    with Client.of(url, key, home) as client:
        answer = client.request("POST", f"{PATH}/{hook_id}:rotate")
        _show_new(client.get_as(_NewHook, answer), client.url, answer.json() if as_json else None)


@app.command()
def revoke(hook_id: HookId, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """End a webhook at once."""
    with Client.of(url, key, home) as client:
        client.request("DELETE", f"{PATH}/{hook_id}")
    terminal(stderr=True).print(f"Revoked {hook_id}.", markup=False)


def _show_new(made: _NewHook, server: str, as_json: object) -> None:
    if as_json is not None:
        show_json(as_json)
        return
    lines([("id", made.id), ("address", made.url or f"{server}{made.path}"), ("secret", made.secret)])
