"""Prefect's pages at `/prefect/`: our login instead of its password.

Prefect's API can do whatever the user of its workers can, such as running any command. What passes here is what a
person does with runs: look, start one from a deployment's form, cancel, delete, and set schedules.
"""

import base64
import json
import re
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from configs.errors import ForbiddenError
from configs.settings import Settings
from infra.doors.api.browser.proxy import Upstream, ask, forward
from infra.doors.api.browser.session import VisitorDep
from infra.doors.api.deps import PartsDep

PREFIX = "/prefect"
API = f"{PREFIX}/api"
router = APIRouter(include_in_schema=False)

_ID = r"[0-9a-fA-F-]{32,36}"
_RUN_FROM_FORM = re.compile(rf"deployments/(?P<deployment>{_ID})/create_flow_run")
# Settings show this machine's paths; blocks and variables may hold secrets.
_HIDDEN = re.compile(r"(admin/(?!version)|block_documents|variables|collections)(/|$)?.*")
_QUESTIONS = re.compile(
    r"(?!block_documents|variables)[\w/-]+/(filter|count|paginate|history|lateness|count-by/\w+)"
    r"|ui/(flows/(count-deployments|next-runs)|flow_runs/(history|count-task-runs)|schemas/validate"
    r"|task_runs/(dashboard/counts|count))"
    r"|deployments/get_scheduled_flow_runs"
)
_CHANGES = {
    "POST": re.compile(
        rf"deployments/{_ID}/(create_flow_run|schedules|pause_deployment|resume_deployment)"
        rf"|flow_runs/({_ID}/(set_state|resume)|bulk_set_state|bulk_delete)|saved_searches/filter"
    ),
    "PATCH": re.compile(rf"deployments/{_ID}/schedules/{_ID}"),
    "DELETE": re.compile(rf"deployments/{_ID}/schedules/{_ID}|flow_runs/{_ID}|artifacts/{_ID}"),
}


def upstream(settings: Settings) -> Upstream:
    """Return the Prefect server that these settings name."""
    secret = settings.prefect_auth.get_secret_value() if settings.prefect_auth else ""
    basic = base64.b64encode(secret.encode()).decode()
    return Upstream(
        "Prefect",
        settings.prefect_api_url.removesuffix("/api"),
        PREFIX,
        lambda path: f"{PREFIX}{path}" if path.startswith("/api/") else path,
        {"Authorization": f"Basic {basic}"} if secret else {},
        evaluates=True,  # the graph of a run is drawn by such functions
    )


@router.get(PREFIX)
def start() -> Response:
    """Send the browser to the first page."""
    return RedirectResponse(f"{PREFIX}/", HTTPStatus.TEMPORARY_REDIRECT)


@router.get(f"{PREFIX}/ui-settings")
async def ui_settings(request: Request, parts: PartsDep, _visitor: VisitorDep) -> Response:
    """Tell the page that its API is here, and that it asks for no password."""
    reply = await ask(request, upstream(parts.settings), f"{PREFIX}/ui-settings")
    return JSONResponse({**reply.json(), "api_url": API, "auth": None})


@router.get(f"{API}/admin/settings")
def settings(_visitor: VisitorDep) -> dict[str, object]:
    """Tell the page what it asks of the settings: to send nothing to Prefect's makers, and to advertise nothing."""
    return {"server": {"analytics_enabled": False, "ui": {"show_promotional_content": False}}}


@router.api_route(f"{API}/{{path:path}}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def api(path: str, request: Request, parts: PartsDep, _visitor: VisitorDep) -> Response:
    """Hand on what is allowed."""
    to = upstream(parts.settings)
    check(request.method, path)
    # Job variables choose the command that the worker runs: an engineer's key would be as good as a shell.
    if request.method == "POST" and (run := _RUN_FROM_FORM.fullmatch(path.strip("/"))):
        await _check_job_variables(request, to, run["deployment"])
    return await forward(request, to, f"/api/{path}")


@router.get(f"{PREFIX}/{{path:path}}")
async def page(path: str, request: Request, parts: PartsDep, _visitor: VisitorDep) -> Response:
    """Hand on a page or one of its files."""
    if parts.settings.prefect_ui_url:
        return RedirectResponse(parts.settings.prefect_ui_url, HTTPStatus.TEMPORARY_REDIRECT)
    return await forward(request, upstream(parts.settings), f"{PREFIX}/{path}")


def check(method: str, path: str) -> None:
    """Let through what a person does with runs.

    Raises:
        ForbiddenError: For everything else.
    """
    asked = path.strip("/")
    reads = method in {"GET", "HEAD"} and not _HIDDEN.fullmatch(asked)
    asks = method == "POST" and _QUESTIONS.fullmatch(asked)
    changes = method in _CHANGES and _CHANGES[method].fullmatch(asked)
    if not (reads or asks or changes):
        raise ForbiddenError(
            "Through this login runs can be seen, started from a deployment, cancelled and deleted, and schedules set. "
            "The rest of Prefect's API is open to the operator on this machine."
        )


async def _check_job_variables(request: Request, to: Upstream, deployment: str) -> None:
    """Let a run say how its process is started only as its deployment does; the form repeats that.

    Raises:
        ForbiddenError: If it says something else.
    """
    try:
        said = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        raise ForbiddenError("A run's form is sent as JSON: this is none") from None
    asked = said.get("job_variables") if isinstance(said, dict) else None
    if not asked:
        return
    reply = await ask(request, to, f"/api/deployments/{deployment}")
    own = reply.json().get("job_variables") if reply.is_success else None
    if asked != own:
        raise ForbiddenError("A run may be given parameters here, not job variables: these choose what is executed.")
