"""The login page: a key for a cookie. It needs no script."""

from html import escape
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from configs.errors import UnauthorizedError
from infra.adapters.security.tokens import MAX_SECRET_CHARS, TOKEN_LIFE_S
from infra.doors.api.browser.session import BEHIND_LOGIN, LOGIN, PAGE_HEADERS, STYLE
from infra.doors.api.deps import PartsDep
from infra.doors.api.logins import FailedLogins, exchange, failed_logins
from infra.doors.api.roles import SESSION_COOKIE
from infra.services import people

router = APIRouter(include_in_schema=False)
_RULES = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 24rem; padding: 0 1rem; color: #1d2733; }
body.wide { margin-top: 5vh; max-width: 60rem; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #c8d0d8; padding: .3rem .8rem; text-align: left; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.4rem; }
label { display: block; margin-bottom: .3rem; }
input { box-sizing: border-box; width: 100%; font: inherit; padding: .5rem; border: 1px solid #8a97a6; }
button { font: inherit; margin-top: .8rem; padding: .5rem 1.2rem; border: 0; background: #14507a; color: #fff; }
p.refused { color: #a11; }
p.hint { color: #56616d; font-size: .9rem; }
"""


@router.get(LOGIN)
def page(following: Annotated[str, Query(alias="next", max_length=2000)] = "") -> HTMLResponse:
    """Return the page."""
    return _page(following, "")


@router.get(STYLE)
def style() -> Response:
    """Return how the page looks."""
    return Response(_RULES, media_type="text/css")


@router.post(LOGIN)
def log_in(
    request: Request,
    parts: PartsDep,
    failed: Annotated[FailedLogins, Depends(failed_logins)],
    key: Annotated[str, Form(max_length=MAX_SECRET_CHARS)],
    following: Annotated[str, Form(alias="next", max_length=2000)] = "",
) -> Response:
    """Exchange the key for a cookie that scripts cannot read and other sites' pages do not send."""
    try:
        done = exchange(parts, failed, request, key.strip())
    except UnauthorizedError:
        return _page(following, "This key is not valid, or was revoked.", HTTPStatus.UNAUTHORIZED)
    except HTTPException as error:
        return _page(following, str(error.detail), error.status_code)
    # Only to a page of ours: a link to the login could else lead on to anywhere.
    reply = RedirectResponse(_inside(following), HTTPStatus.SEE_OTHER)
    reply.set_cookie(
        SESSION_COOKIE,
        done.token,
        max_age=int(TOKEN_LIFE_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return reply


@router.post("/logout")
def log_out(request: Request, parts: PartsDep) -> Response:
    """End the cookie's token, and forget the cookie."""
    people.logout(parts, request.cookies.get(SESSION_COOKIE, ""))
    reply = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
    reply.delete_cookie(SESSION_COOKIE)
    return reply


def _inside(path: str) -> str:
    """Return a path of this server's pages; whatever else was asked for, the first of them."""
    if path == "/mlflow/":
        return "/mlflow"  # where in it, stood behind a # and did not come here
    return path if path.startswith(BEHIND_LOGIN) and "\\" not in path else BEHIND_LOGIN[0]


def _page(following: str, refused: str, status: int = HTTPStatus.OK) -> HTMLResponse:
    told = f'<p class="refused">{escape(refused)}</p>' if refused else ""
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Teachback: log in</title>
<link rel="stylesheet" href="{STYLE}">
</head>
<body>
<h1>Teachback</h1>
<form method="post" action="{LOGIN}">
<input type="hidden" name="next" value="{escape(following)}">
<label for="key">Your key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Log in</button>
</form>
{told}
<p class="hint">An engineer's or admin's key opens Prefect's and MLflow's pages.
<code>teachback keys create --role engineer</code> makes one.</p>
</body>
</html>
""",
        status_code=status,
        headers=PAGE_HEADERS,
    )
