"""MLflow's pages at `/mlflow/`, and its API for reading.

What writes runs is this installation alone: a client that may create an experiment or a model version names where its
files are, and could have the server read any file of its user. Through here people look, rename, tag and delete.
"""

import re
from http import HTTPStatus

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ValidationError

from configs.errors import ForbiddenError, InvalidRequestError, NotFoundError, TrackingError
from configs.settings import Settings
from infra.doors.api.browser.proxy import Upstream, ask, forward
from infra.doors.api.browser.session import VisitorDep
from infra.doors.api.deps import PartsDep
from infra.services.operating import pages

PREFIX = "/mlflow"
router = APIRouter(include_in_schema=False)

_CALL = re.compile(r"(?:ajax-)?api/\d\.0/(?P<asked>.*)")
# Code assistants, calls to other services and other people's accounts: MLflow lets this machine's own browser use them.
_HIDDEN = re.compile(r"(mlflow/)?(assistant|gateway|jobs|webhooks|users|roles|mcp|agents)\b.*|mlflow/gateway-proxy.*")
_QUESTIONS = re.compile(
    r"mlflow/(experiments|runs|registered-models|model-versions|logged-models|traces|datasets|issues)"
    r"/(search|search-\w+|get-latest-versions|batchGetInfos|get|metrics)"
    r"|mlflow/metrics/get-history(-bulk)?(-interval)?|mlflow/artifacts/presigned-download-url"
)
_CHANGES = re.compile(
    r"mlflow/experiments/(update|delete|restore|set-experiment-tag|delete-experiment-tag)"
    r"|mlflow/runs/(update|delete|restore|set-tag|delete-tag)"
    r"|mlflow/(registered-models|model-versions)/(update|set-tag|delete-tag)"
)


class _Info(BaseModel):
    experiment_id: str


class _Run(BaseModel):
    info: _Info


class _RunReply(BaseModel):
    """What we read of MLflow's answer about a run."""

    run: _Run


def upstream(settings: Settings) -> Upstream:
    """Return the MLflow server that these settings name.

    Raises:
        InvalidRequestError: If they name none.
    """
    if not settings.tracking_url:
        raise InvalidRequestError("This installation writes to no MLflow: set TEACHBACK_MLFLOW_TRACKING_URI")
    return Upstream("MLflow", settings.tracking_url, PREFIX, lambda path: f"{PREFIX}{path}", {})


@router.get(PREFIX)
def start() -> Response:
    """Send the browser to the list of trained experiments: the home page speaks of language models."""
    return RedirectResponse(f"{PREFIX}/#/experiments?workflowType=machine_learning", HTTPStatus.TEMPORARY_REDIRECT)


@router.get(f"{PREFIX}/jobs/{{job_id}}")
async def run_of_job(job_id: str, request: Request, parts: PartsDep, visitor: VisitorDep) -> Response:
    """Send the browser to a job's run, wherever it is shown."""
    found = await anyio.to_thread.run_sync(pages.job_page, parts, visitor, job_id)
    to, run = upstream(parts.settings), found.job.tracking_run
    if run is None:
        raise NotFoundError("run in MLflow yet of the job", job_id)
    reply = await ask(request, to, "/api/2.0/mlflow/runs/get", {"run_id": run})
    try:
        group = _RunReply.model_validate_json(reply.content).run.info.experiment_id
    except ValidationError:
        raise TrackingError("MLflow does not show the job's run now: try again soon.") from None
    base = parts.settings.mlflow_ui_url.rstrip("/") or PREFIX
    return RedirectResponse(
        f"{base}/#/experiments/{group}/runs/{run}?workflowType=machine_learning", HTTPStatus.TEMPORARY_REDIRECT
    )


@router.api_route(f"{PREFIX}/{{path:path}}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def page(path: str, request: Request, parts: PartsDep, _visitor: VisitorDep) -> Response:
    """Hand on what is allowed."""
    settings = parts.settings
    if settings.mlflow_ui_url:
        return RedirectResponse(settings.mlflow_ui_url, HTTPStatus.TEMPORARY_REDIRECT)
    check(request.method, path)
    return await forward(request, upstream(settings), f"/{path}")


def check(method: str, path: str) -> None:
    """Let through what a person does with runs.

    Raises:
        ForbiddenError: For everything else.
    """
    if path in {"graphql", "version", "health"}:
        return
    call = _CALL.fullmatch(path)
    asked = call["asked"] if call else path
    reads = method in {"GET", "HEAD"} and not _HIDDEN.fullmatch(asked)
    if reads or (call and method == "POST" and _QUESTIONS.fullmatch(asked)):
        return
    if call and method in {"POST", "PATCH", "DELETE"} and _CHANGES.fullmatch(asked):
        return
    raise ForbiddenError(
        "Through this login runs and models can be seen, renamed, tagged, and runs deleted. "
        "What is trained and published is written by Teachback alone."
    )
