"""`teachback images`: the images that nobody is to label."""

from typing import Annotated
from urllib.parse import quote

import typer
from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import noun, show_table, terminal

app = noun(
    "Images that nobody is to label: skipped, listed, cleared.", "teachback images skip studies CASE-7 --reason blurred"
)

DatasetArgument = Annotated[str, typer.Argument(help="The data set's name or id.")]
ImageArgument = Annotated[str, typer.Argument(help="The image's id in the data set.")]


class _State(BaseModel):
    image: str
    reason: str
    by: str


class _Skipped(BaseModel):
    images: list[_State]


@app.command()
def skipped(
    dataset: DatasetArgument,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List skipped images with the reasons.

    For example:

        teachback images skipped studies
    """
    with Client.of(url, key, home) as client:
        answer = client.request("GET", f"{OURS}/datasets/{quote(dataset, safe='')}/skipped")
        found = client.get_as(_Skipped, answer)
    show_table(
        "Skipped images",
        {"image": lambda row: row.image, "reason": lambda row: row.reason, "by": lambda row: row.by},
        found.images,
        none="No image is skipped.",
        as_json=answer.json() if as_json else None,
    )


@app.command()
def skip(
    dataset: DatasetArgument,
    image: ImageArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown to everyone, so no patient's name.")],
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Take an image out for everyone.

    For example:

        teachback images skip studies sample-003/t1 --reason "moved during the scan"
    """
    with Client.of(url, key, home) as client:
        body = {"image": image, "reason": reason}
        said = client.get_as(_State, client.request("POST", _path(dataset, "skip"), json=body))
    terminal().print(f"{said.image} is skipped: {said.reason}", markup=False)


@app.command()
def clear(
    dataset: DatasetArgument, image: ImageArgument, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None
) -> None:
    """Let a skipped image be given again.

    For example:

        teachback images clear studies sample-003/t1
    """
    with Client.of(url, key, home) as client:
        said = client.get_as(_State, client.request("POST", _path(dataset, "clear"), json={"image": image}))
    terminal().print(f"{said.image} can be labelled again", markup=False)


def _path(dataset: str, verb: str) -> str:
    return f"{OURS}/datasets/{quote(dataset, safe='')}/images:{verb}"
