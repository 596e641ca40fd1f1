"""`teachback jobs`: trainings and annotation loops."""

from typing import Annotated

import typer
from pydantic import BaseModel

from configs.errors import NotFoundError
from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import listing_noun, show_json, show_table, terminal

app = listing_noun()


class _Result(BaseModel):
    message: str = ""
    key_metric: float = 0.0
    metric_kind: str | None = None


class _Job(BaseModel):
    id: str
    experiment_id: str
    action: str
    status: str
    name: str
    created_on: str
    result: _Result


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the jobs of all experiments, the newest first.

    For example:

        teachback jobs --json | jq -r '.[] | select(.status == "Running").id'
    """
    if context.invoked_subcommand is not None:
        return
    with Client.of(url, key, home) as client:
        answer = client.request("GET", client.cloud("experiments/*/jobs"))
        rows = client.get_as(list[_Job], answer)
    if as_json:
        show_json(answer.json())
        return
    show_table(
        "Jobs",
        {
            "id": lambda row: row.id,
            "action": lambda row: row.action,
            "name": lambda row: row.name,
            "status": lambda row: row.status,
            "metric": lambda row: row.result.key_metric if row.result.metric_kind else None,
            "created": lambda row: row.created_on,
            "message": lambda row: row.result.message,
        },
        rows,
        none="No job yet.",
    )


@app.command()
def cancel(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="As `teachback jobs` shows it.")],
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Cancel a job, and its open round; one that has ended stays as it is."""
    with Client.of(url, key, home) as client:
        rows = client.get_as(list[_Job], client.request("GET", client.cloud("experiments/*/jobs")))
        job = next((row for row in rows if row.id == job_id), None)
        if job is None:
            raise NotFoundError("job", job_id, [row.id for row in rows])
        client.request("POST", client.cloud(f"experiments/{job.experiment_id}/jobs/{job_id}:cancel"))
        terminal(stderr=True).print(f"Cancelled {job_id}.", markup=False)
