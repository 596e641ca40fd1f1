"""Who looks at a page: a browser with our cookie, or a program with a key."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from infra.doors.api import errors
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.callers import Caller
from infra.services.operating import pages

LOGIN = "/login"
STYLE = "/login.css"
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
}
# Programs get 401 on these, too: only a browser that asks for a page is led to the login.
BEHIND_LOGIN = ("/prefect/", "/mlflow/", "/jobs/")


def visitor(parts: PartsDep, caller: CallerDep) -> Caller:
    """Return who asks for one of Prefect's or MLflow's pages, and may see it.

    Raises:
        UnauthorizedError: If nobody is logged in.
        ForbiddenError: If the caller may not see these pages.
    """
    pages.may_open(parts, caller)
    return caller


VisitorDep = Annotated[Caller, Depends(visitor)]


def not_logged_in(request: Request, error: Exception) -> Response:
    """Send a browser that asks for a page to the login page, from which it comes back; refuse all else."""
    path = request.url.path
    if path.startswith(BEHIND_LOGIN) and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{LOGIN}?next={quote(path)}", HTTPStatus.SEE_OTHER)
    return errors.raised(request, error)
