"""`teachback bundles`: the MONAI bundles that experiments can use."""

from pydantic import BaseModel

from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import noun, show_json, show_table

app = noun("MONAI bundles that experiments can use.")


class _Bundle(BaseModel):
    id: str
    name: str
    version: str
    tier: str
    labels: dict[str, str]
    description: str


@app.command()
def bundles(url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the registered bundles. Tier A trains on Lightning, B by a trainer of its own, C only infers.

    For example:

        teachback bundles
    """
    with Client.of(url, key, home) as client:
        answer = client.request("GET", "/api/teachback/v1/bundles")
        rows = client.get_as(list[_Bundle], answer)
    if as_json:
        show_json(answer.json())
        return
    show_table(
        "Bundles",
        {
            "name": lambda row: row.name,
            "version": lambda row: row.version,
            "tier": lambda row: row.tier,
            "labels": lambda row: ", ".join(row.labels.values()),
            "content": lambda row: row.id[:12],
            "what": lambda row: row.description,
        },
        rows,
        none="No bundle is registered; see the API's log.",
    )
