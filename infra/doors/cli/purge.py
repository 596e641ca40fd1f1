"""`teachback purge`: what was deleted long ago is removed for good."""

from typing import Annotated

import typer
from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import lines, noun, show_json, terminal

app = noun("Remove for good what was deleted.")


class _Purged(BaseModel):
    labels: int
    datasets: int
    files: int
    stored: int
    kept: int
    left: int


@app.command()
def purge(
    older_than: Annotated[float, typer.Option("--older-than", min=0, help="Days since the deletion.")] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove for good the contents of labels and data sets that were deleted longer ago than --older-than days.

    Never removed: images of a store, labels that Teachback did not write, labels that a model was made of. It takes an
    admin's key, and is in the audit.

    For example:

        teachback purge --older-than 90

        teachback purge --older-than 0 --yes
    """
    body = {"older_than_days": older_than, "confirm": False}
    with Client.of(url, key, home) as client:
        path = f"{OURS}/labels:purge"
        would = client.get_as(_Purged, client.request("POST", path, json=body))
        if not would.labels and not would.datasets:
            terminal(stderr=True).print(f"Nothing was deleted longer than {older_than:g} days ago.", markup=False)
            return
        asked = f"Remove {would.labels} labels and {would.datasets} data sets for good?"
        if not yes and not typer.confirm(asked, err=True):
            raise typer.Abort
        answer = client.request("POST", path, json={**body, "confirm": True})
        done = client.get_as(_Purged, answer)
    if as_json:
        show_json(answer.json())
        return
    lines(
        [
            ("labels removed", done.labels),
            ("data sets removed", done.datasets),
            ("files removed here", done.files),
            ("files removed from folders", done.stored),
            ("labels kept, since a model was made of them", done.kept),
            ("files left in stores that cannot remove them", done.left),
        ]
    )
