"""`teachback labels`: every version of a data set's labels, reviewed, mended, hidden, fetched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from pydantic import BaseModel
from typer.core import TyperGroup

from configs.errors import InvalidRequestError
from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import show_table, terminal, when


class _ListsByItself(TyperGroup):
    """Takes `labels DATASET` for `labels list DATASET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in where there is none."""
        verb_is_missing = bool(args) and args[0] not in self.commands and args[0] != "--help"
        rest: list[str] = super().parse_args(ctx, ["list", *args] if verb_is_missing else args)
        return rest


app = typer.Typer(
    cls=_ListsByItself,
    help="Labels, version by version: `teachback labels DATASET` lists them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
LabelArgument = Annotated[str, typer.Argument(help="The label's id, from the list.")]


class _Label(BaseModel):
    id: str
    image: str
    kind: str
    version: int
    tags: list[str]
    state: str
    author_name: str
    author: str
    tool: str
    base_version: str | None
    unedited: bool
    imported: bool
    place: str
    upload_pending: bool
    approved: bool
    review_reason: str
    warnings: list[str]
    created_at: float

    @property
    def how_it_is(self) -> str:
        """The state, and what is to happen to it."""
        more = {"approved": self.approved, "imported": self.imported, "to be written to its store": self.upload_pending}
        return ", ".join([self.state, *(word for word, so in more.items() if so)])

    @property
    def made_with(self) -> str:
        """The tool, and the model version that was corrected or taken as it is."""
        model = f"{'unedited' if self.unedited else 'from'} {self.base_version[:8]}" if self.base_version else ""
        return " ".join(filter(None, [self.tool, model]))

    @property
    def said(self) -> str:
        """Why it was sent back, or what was wrong with it."""
        return self.review_reason or " ".join(self.warnings)


class _Agreement(BaseModel):
    dice: float
    surface_mm: float | None


class _Pair(BaseModel):
    image: str
    authors: tuple[str, str]
    names: dict[str, _Agreement]


class _Labels(BaseModel):
    labels: list[_Label]


@app.command("list")
def list_(
    dataset: Annotated[str, typer.Argument(help="The data set's name or id.")],
    image: Annotated[str, typer.Option("--image", help="Only of this image.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only in this state, such as quarantined or sent_back.")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that were deleted and not purged.")] = False,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List labels, the newest version first.

    For example:

        teachback labels studies --state quarantined

        teachback labels studies --image sample-001/t1 --json | jq -r '.labels[0].id'
    """
    said = {"image": image, "state": state, "deleted": "true" if deleted else ""}
    with Client.of(url, key, home) as client:
        _show(client, dataset, said, as_json=as_json)


@app.command()
def queue(
    dataset: Annotated[str, typer.Argument(help="The data set's name or id.")],
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a reviewer may look at: people's labels that nobody has approved yet."""
    with Client.of(url, key, home) as client:
        _show(client, dataset, {"to_review": "true"}, as_json=as_json)


def _show(client: Client, dataset: str, said: Mapping[str, str], *, as_json: bool) -> None:
    query = {name: value for name, value in said.items() if value}
    answer = client.request("GET", f"{OURS}/datasets/{quote(dataset, safe='')}/labels", params=query)
    found = client.get_as(_Labels, answer)
    show_table(
        "Labels",
        {
            "id": lambda row: row.id,
            "image": lambda row: row.image,
            "version": lambda row: row.version,
            "tags": lambda row: " ".join(row.tags),
            "kind": lambda row: row.kind,
            "state": lambda row: row.how_it_is,
            "by": lambda row: row.author_name or row.author,
            "with": lambda row: row.made_with,
            "file": lambda row: row.place,
            "saved": lambda row: when(row.created_at),
            "reason": lambda row: row.said,
        },
        found.labels,
        none="No such label.",
        as_json=answer.json() if as_json else None,
    )


@app.command()
def agreement(
    dataset: Annotated[str, typer.Argument(help="The data set's name or id.")],
    image: Annotated[str, typer.Option("--image", help="Only of this image.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="Images, those labelled last first.", min=1, max=200)] = 20,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the masks of every two people who labelled the same image: Dice, and the mean distance of surfaces."""
    with Client.of(url, key, home) as client:
        query: dict[str, str | int] = {"image": image, "limit": limit}
        answer = client.request("GET", f"{OURS}/datasets/{quote(dataset, safe='')}/agreement", params=query)
        pairs = client.get_as(list[_Pair], answer)
    show_table(
        "Agreement",
        {
            "image": lambda row: row[0].image,
            "between": lambda row: " and ".join(row[0].authors),
            "label": lambda row: row[1],
            "Dice": lambda row: f"{row[2].dice:.3f}",
            "surfaces apart, mm": lambda row: None if row[2].surface_mm is None else f"{row[2].surface_mm:.2f}",
        },
        [(pair, name, found) for pair in pairs for name, found in pair.names.items()],
        none="No image has masks of two people: let several annotate each with annotators_per_image.",
        as_json=answer.json() if as_json else None,
    )


@app.command()
def fetch(
    label: LabelArgument,
    to: Annotated[Path, typer.Option("--to", help="The file to write; it must not exist.")],
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Write a version's file as it was saved."""
    with Client.of(url, key, home) as client:
        content = client.request("GET", f"{OURS}/labels/{label}/file").content
    try:
        with to.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise InvalidRequestError(f"{to} exists already: name another file") from None
    terminal(stderr=True).print(f"{len(content)} bytes in {to}", markup=False)


@app.command()
def approve(label: LabelArgument, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """Approve a label; where the data set says so, only approved labels train."""
    with Client.of(url, key, home) as client:
        _tell(client.post(f"{OURS}/labels/{label}:approve", {}))


@app.command("send-back")
def send_back(
    label: LabelArgument,
    reason: Annotated[str, typer.Option("--reason", help="What is to be done; its author reads it.")],
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Send a label back to its author, who is given its image next."""
    with Client.of(url, key, home) as client:
        _tell(client.post(f"{OURS}/labels/{label}:send_back", {"reason": reason}))


@app.command()
def release(
    label: LabelArgument,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="VALUE=NAME: what a value means; may be repeated.")
    ] = None,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Take a label out of quarantine, if it fits its image and the experiment by now.

    For example:

        teachback labels release 4c9f… --name 9=spleen
    """
    names = dict(_pair(said) for said in name or ())
    with Client.of(url, key, home) as client:
        _tell(client.post(f"{OURS}/labels/{label}:release", {"names": names}))


@app.command()
def delete(label: LabelArgument, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """Hide a label: it no longer counts or trains, and its image waits again. `teachback purge` removes it for good."""
    with Client.of(url, key, home) as client:
        client.request("DELETE", f"{OURS}/labels/{label}")
    terminal(stderr=True).print(f"Label {label} is hidden.", markup=False)


def _tell(answer: Any) -> None:
    found = _Label.model_validate(answer)
    terminal(stderr=True).print(f"Version {found.version} of {found.image}: {found.how_it_is}", markup=False)


def _pair(said: str) -> tuple[str, str]:
    value, found, name = said.partition("=")
    if not found or not value.isdecimal() or not name:
        raise InvalidRequestError(f"{said!r} is no VALUE=NAME, such as 9=spleen")
    return value, name
