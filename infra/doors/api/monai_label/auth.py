"""`/auth` of this dialect: a user's name and key for a token. The key says who somebody is, whatever name is with it.

An address that carries its key has none of this: its clients find 404 here, and log in to nothing.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from pydantic import BaseModel, SecretStr, StringConstraints

from configs.errors import NotFoundError
from infra.adapters.security.tokens import MAX_SECRET_CHARS
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.errors import answers
from infra.doors.api.logins import FailedLogins, exchange, failed_logins

router = APIRouter(prefix="/auth", tags=["MONAI Label: login"])
_REFUSALS = answers(False, HTTPStatus.TOO_MANY_REQUESTS)
CLIENT = "teachback"


class Enabled(BaseModel):
    """That logging in is needed, and where: here."""

    enabled: bool = True
    client_id: str = CLIENT
    realm: str


class Token(BaseModel):
    """What goes into the header `Authorization`, for 24 hours."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the scheme


class User(BaseModel):
    """Who a token belongs to."""

    username: str
    email: str = ""
    name: str
    roles: list[str]


@router.get("")
@router.get("/", include_in_schema=False)
def enabled(request: Request, parts: PartsDep) -> Enabled:
    """Say that logging in is needed; where it is not, there is nothing here, which clients take for that.

    Raises:
        NotFoundError: If it is not.
    """
    if parts.settings.open_here:
        raise NotFoundError("login on this server, which asks for no key", "/auth/")
    return Enabled(realm=str(request.base_url).rstrip("/"))


@router.post("/token", responses=_REFUSALS)
def token(
    request: Request,
    parts: PartsDep,
    failed: Annotated[FailedLogins, Depends(failed_logins)],
    password: Annotated[SecretStr, StringConstraints(max_length=MAX_SECRET_CHARS), Form()],
    username: Annotated[str, Form(max_length=1024)] = "",  # noqa: ARG001 - a key knows its owner
) -> Token:
    """Exchange a key, sent as the password, for a token."""
    return Token(access_token=exchange(parts, failed, request, password.get_secret_value()).token)


@router.get("/token/valid")
def valid(caller: CallerDep) -> User:
    """Say who the shown token belongs to."""
    return User(username=caller.user_id, name=caller.name, roles=[str(caller.role)])
