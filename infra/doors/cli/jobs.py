"""`teachback jobs`: trainings and annotation loops."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from configs.errors import NotFoundError
from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import listing_noun, show_table, terminal

app = listing_noun()
_EXPORT_S = 600.0


class _Result(BaseModel):
    message: str = ""
    key_metric: float | None = None
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
        as_json=answer.json() if as_json else None,
    )


class _Said(BaseModel):
    message: str


JobArgument = Annotated[str, typer.Argument(metavar="ID", help="As `teachback jobs` shows it.")]


@app.command()
def cancel(job_id: JobArgument, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """Cancel a job, and its open round; one that has ended stays as it is."""
    with Client.of(url, key, home) as client:
        _ask(client, job_id, "cancel")
        terminal(stderr=True).print(f"Cancelled {job_id}.", markup=False)


@app.command()
def pause(job_id: JobArgument, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """Pause a job: a loop starts no further round, a training keeps a checkpoint and leaves its device."""
    with Client.of(url, key, home) as client:
        terminal(stderr=True).print(_ask(client, job_id, "pause"), markup=False)


@app.command()
def resume(
    job_id: JobArgument,
    round_now: Annotated[
        bool, typer.Option("--round-now", help="Start a loop's next round with whatever labels wait.")
    ] = False,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Go on with a paused job where it was.

    For example, to train with the labels that wait, however few:

        teachback jobs resume ID --round-now
    """
    with Client.of(url, key, home) as client:
        said = _ask(client, job_id, "resume", {"round_now": round_now})
        terminal(stderr=True).print(said, markup=False)


@app.command()
def download(
    job_id: JobArgument,
    to: Annotated[Path | None, typer.Option("--to", help="The file to write; default: ID.tar.gz here.")] = None,
    monai_bundle: Annotated[
        bool, typer.Option("--monai-bundle", help="A bundle that MONAI itself runs, in place of the job's files.")
    ] = False,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Write what a job has made to a tar.gz: weights, scores and curves of a training, a batch's predictions.

    For example:

        teachback jobs download ID --monai-bundle --to kidneys.tar.gz
    """
    target = to or Path(f"{job_id}.tar.gz")
    with Client.of(url, key, home) as client:
        wanted = {"export_type": "monai_bundle" if monai_bundle else "tao"}
        size = client.save(_path(client, job_id, "download"), target, within_s=_EXPORT_S, json=wanted)
    terminal(stderr=True).print(f"{size} bytes in {target}", markup=False)


def _ask(client: Client, job_id: str, verb: str, body: dict[str, bool] | None = None) -> str:
    """Ask something of a job of whichever experiment, and return the answer."""
    answer = client.request("POST", _path(client, job_id, verb), json=body)
    return client.get_as(_Said, answer).message


def _path(client: Client, job_id: str, verb: str) -> str:
    """Return the path at which something is asked of a job of whichever experiment."""
    rows = client.get_as(list[_Job], client.request("GET", client.cloud("experiments/*/jobs")))
    job = next((row for row in rows if row.id == job_id), None)
    if job is None:
        raise NotFoundError("job", job_id, [row.id for row in rows])
    return client.cloud(f"experiments/{job.experiment_id}/jobs/{job_id}:{verb}")
