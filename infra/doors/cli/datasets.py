"""`teachback datasets`: the image stores."""

import typer
from pydantic import BaseModel

from infra.doors.cli.carriage import export, import_labels
from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import listing_noun, show_table

app = listing_noun()


class _LabelSettings(BaseModel):
    annotators_per_image: int = 1
    train_on: str = "submitted"
    resolve: str = "latest"


class _Dataset(BaseModel):
    id: str
    name: str
    address: str
    state: str
    state_reason: str
    images: int
    waiting: int
    skipped: dict[str, int]
    labels_left_out: dict[str, int] = {}
    label_settings: _LabelSettings = _LabelSettings()

    @property
    def told(self) -> str:
        """The state, with the reason where there is one."""
        return f"{self.state}: {self.state_reason}" if self.state_reason else self.state

    @property
    def learns(self) -> str:
        """How many people label an image, which labels train, and which of several."""
        said = self.label_settings
        return f"{said.annotators_per_image} per image, {said.train_on}, {said.resolve}"

    @property
    def left_out(self) -> str | None:
        """What is skipped, and the store's labels that nothing learns from, counted."""
        labels = {f"labels: {why}": count for why, count in self.labels_left_out.items()}
        return ", ".join(f"{count} {kind}" for kind, count in {**self.skipped, **labels}.items()) or None


@app.callback(invoke_without_command=True)
def datasets(
    context: typer.Context,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the data sets: whether their stores answer, how many images wait, and what of them is left out.

    For example:

        teachback datasets

        teachback datasets --json | jq -r '.[].id'

        teachback datasets import-labels studies ~/old-project/labels

        teachback datasets export studies ./out --format nifti
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
            "labels": lambda row: row.learns,
            "left out": lambda row: row.left_out,
            "address": lambda row: row.address,
        },
        rows,
        none="No data set yet: `teachback up --studies DIR`, or POST …/datasets.",
        as_json=answer.json() if as_json else None,
    )


app.command()(import_labels)
app.command()(export)
