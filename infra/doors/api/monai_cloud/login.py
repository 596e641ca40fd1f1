"""Logging in: an API key for a bearer token."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, SecretStr, StringConstraints

from infra.adapters.security.tokens import MAX_SECRET_CHARS
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.errors import answers
from infra.doors.api.logins import FailedLogins, exchange, failed_logins

router = APIRouter(prefix="/api/v1", tags=["login"])
_REFUSALS = answers(True, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)


class LoginRequest(BaseModel):
    """The key, under the name that this dialect's clients have for it."""

    ngc_api_key: Annotated[SecretStr, StringConstraints(max_length=MAX_SECRET_CHARS)]


class LoginResponse(BaseModel):
    """Who the key belongs to, and a token for 24 hours."""

    user_id: str
    token: str


class WhoAmI(BaseModel):
    """Who a token belongs to."""

    user_id: str
    org: str
    role: str


@router.post("/login", status_code=HTTPStatus.CREATED, responses=_REFUSALS)
def login(
    body: LoginRequest, request: Request, parts: PartsDep, failed: Annotated[FailedLogins, Depends(failed_logins)]
) -> LoginResponse:
    """Exchange an API key for a bearer token."""
    done = exchange(parts, failed, request, body.ngc_api_key.get_secret_value())
    return LoginResponse(user_id=done.user_id, token=done.token)


@router.get("/auth", responses=answers(True, HTTPStatus.UNAUTHORIZED))
def auth(caller: CallerDep) -> WhoAmI:
    """Say who the shown token or key belongs to."""
    return WhoAmI(user_id=caller.user_id, org=caller.org, role=caller.role)
