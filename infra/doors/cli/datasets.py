"""`teachback datasets`: the image stores."""

from pydantic import BaseModel

from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import noun, show_json, show_table

app = noun("The image stores.")


class _Dataset(BaseModel):
    id: str
    name: str
    type: str
    status: str
    client_url: str | None
    last_modified: str


@app.command()
def datasets(url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the organisation's data sets.

    For example:

        teachback datasets

        teachback datasets --json | jq -r '.[].id'
    """
    with Client.of(url, key, home) as client:
        answer = client.request("GET", client.cloud("datasets"))
        rows = client.get_as(list[_Dataset], answer)
    if as_json:
        show_json(answer.json())
        return
    show_table(
        "Data sets",
        {
            "id": lambda row: row.id,
            "name": lambda row: row.name,
            "status": lambda row: row.status,
            "address": lambda row: row.client_url,
            "changed": lambda row: row.last_modified,
        },
        rows,
        none="No data set yet: `teachback up --studies DIR`, or POST …/datasets.",
    )
