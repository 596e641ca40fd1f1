"""`teachback datasets`: the image stores."""

from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import noun, show_json, show_table

app = noun("The image stores.")


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


@app.command()
def datasets(url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the data sets: whether their stores answer, how many images wait, and what is skipped.

    For example:

        teachback datasets

        teachback datasets --json | jq -r '.[].id'
    """
    with Client.of(url, key, home) as client:
        answer = client.request("GET", f"{OURS}/datasets")
        rows = client.get_as(list[_Dataset], answer)
    if as_json:
        show_json(answer.json())
        return
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
    )
