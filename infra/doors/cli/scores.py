"""`teachback scores`: how much labelling each image would teach."""

from typing import Annotated

import typer
from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import listing_noun, show_table

app = listing_noun()


class _Row(BaseModel):
    image: str
    score: float
    by: str
    published: bool


class _Scores(BaseModel):
    method: str
    scores: list[_Row]


@app.callback(invoke_without_command=True)
def scores(
    experiment: Annotated[str, typer.Option("--experiment", help="Name or id.")],
    method: Annotated[str, typer.Option("--method", help="By name; default: the strategy's.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 100,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List images that wait to be labelled, those first that would teach most.

    For example:

        teachback scores --experiment "studies sample" --method epistemic
    """
    query: dict[str, str | int] = {"experiment": experiment, "limit": limit}
    if method:
        query["method"] = method
    with Client.of(url, key, home) as client:
        answer = client.request("GET", f"{OURS}/scores", params=query)
        found = client.get_as(_Scores, answer)
    show_table(
        f"Scores ({found.method})",
        {
            "image": lambda row: row.image,
            "score": lambda row: row.score,
            "by": lambda row: row.by,
            "of the published model": lambda row: row.published,
        },
        found.scores,
        none="Nothing is scored yet: scores follow each round, and the deployment refresh-scores.",
        as_json=answer.json() if as_json else None,
    )
