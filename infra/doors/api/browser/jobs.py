"""A job's page: how it went, in words and numbers, with the ways to Prefect's and MLflow's pages of it."""

from html import escape
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from configs.errors import InvalidRequestError
from configs.settings import Settings
from configs.states import TERMINAL
from infra.doors.api.browser.prefect import PREFIX as PREFECT
from infra.doors.api.browser.session import PAGE_HEADERS, STYLE, VisitorDep
from infra.doors.api.deps import PartsDep
from infra.services.learning import jobs
from infra.services.operating import pages
from infra.services.operating.pages import JobPage

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}")
def page(job_id: str, parts: PartsDep, visitor: VisitorDep) -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(_page(pages.job_page(parts, visitor, job_id), parts.settings), headers=PAGE_HEADERS)


@router.post("/jobs/{job_id}/train-now")
def train_now(job_id: str, parts: PartsDep, visitor: VisitorDep) -> HTMLResponse:
    """Open a round of a loop with the labels that wait, and return the page with what came of it."""
    job = pages.job_page(parts, visitor, job_id).job
    status = HTTPStatus.OK
    try:
        said = jobs.resume(parts, visitor, job.experiment_id, job_id, round_now=True)
    except InvalidRequestError as error:
        said, status = str(error), HTTPStatus.BAD_REQUEST
    found = pages.job_page(parts, visitor, job_id)
    return HTMLResponse(_page(found, parts.settings, said), status, headers=PAGE_HEADERS)


def _page(found: JobPage, settings: Settings, said: str = "") -> str:
    job = found.job
    title = f"Round {job.round_no}" if job.round_no else job.name or job.action
    api = f"/api/v1/orgs/{job.org}/experiments/{job.experiment_id}/jobs/{job.id}"
    ways = [f'<a href="/mlflow/jobs/{job.id}">its run in MLflow</a>'] if job.tracking_run else []
    if found.flow_run:
        prefect = f"{settings.prefect_ui_url.rstrip('/') or PREFECT}/runs/flow-run/{found.flow_run}"
        ways.insert(0, f'<a href="{escape(prefect)}">its run in Prefect</a>')
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Teachback: {escape(title)}</title>
<link rel="stylesheet" href="{STYLE}">
</head>
<body class="wide">
<h1>{escape(title)} of {escape(found.experiment)}: {job.status}</h1>
<p>{escape(said or found.sentence)}</p>
{_table(found)}
{_train_now(found)}
<p>{" · ".join(ways)}</p>
<p class="hint">Over HTTP, with a key: <code>GET {escape(api)}</code></p>
</body>
</html>
"""


def _train_now(found: JobPage) -> str:
    """Return the button that a running or paused loop has."""
    if found.job.action != "annotation" or found.job.status in TERMINAL:
        return ""
    return f'<form method="post" action="/jobs/{found.job.id}/train-now"><button>Train now</button></form>'


def _table(found: JobPage) -> str:
    if not found.rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in found.rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in found.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
