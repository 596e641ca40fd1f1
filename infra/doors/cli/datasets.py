"""`teachback datasets`: the image stores."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import listing_noun, show_table, terminal

app = listing_noun()
_READ_S = 600.0


class _Dataset(BaseModel):
    id: str
    name: str
    address: str
    state: str
    state_reason: str
    images: int
    waiting: int
    skipped: dict[str, int]

    @property
    def told(self) -> str:
        """The state, with the reason where there is one."""
        return f"{self.state}: {self.state_reason}" if self.state_reason else self.state

    @property
    def left_out(self) -> str | None:
        """What is skipped, counted."""
        return ", ".join(f"{count} {kind}" for kind, count in self.skipped.items()) or None


@app.callback(invoke_without_command=True)
def datasets(
    context: typer.Context,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the data sets: whether their stores answer, how many images wait, and what is skipped.

    For example:

        teachback datasets

        teachback datasets --json | jq -r '.[].id'

        teachback datasets export-manifest liver-2024 --to manifest.json
    """
    if context.invoked_subcommand is not None:
        return
    with Client.of(url, key, home) as client:
        answer = client.request("GET", f"{OURS}/datasets")
        rows = client.get_as(list[_Dataset], answer)
    show_table(
        "Data sets",
        {
            "id": lambda row: row.id,
            "name": lambda row: row.name,
            "state": lambda row: row.told,
            "images": lambda row: row.images,
            "waiting": lambda row: row.waiting,
            "skipped": lambda row: row.left_out,
            "address": lambda row: row.address,
        },
        rows,
        none="No data set yet: `teachback up --studies DIR`, or POST …/datasets.",
        as_json=answer.json() if as_json else None,
    )


@app.command()
def export_manifest(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a data set in an object store, or its id.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write.")] = Path("manifest.json"),
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Write a copy of a data set's manifest, with the label that each image would train with; your own stays as it is.

    For example:

        teachback datasets export-manifest liver-2024 --to manifest.json
    """
    with Client.of(url, key, home) as client:
        size = client.save(f"{OURS}/datasets/{quote(name, safe='')}:manifest", to, within_s=_READ_S)
    terminal(stderr=True).print(f"{size} bytes in {to}", markup=False)
