"""What there is, for clients that feel their way: lists of paths, the version, and the API's description as YAML."""

from importlib.metadata import version

import yaml
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from configs.errors import ForbiddenError
from infra.doors.api.deps import CallerDep

router = APIRouter(include_in_schema=False)
_V1 = "/api/v1"


@router.get("/api")
def versions() -> list[str]:
    """List the versions of this dialect."""
    return [_V1]


@router.get(_V1)
def topics() -> list[str]:
    """List what there is below."""
    return [f"{_V1}/{name}" for name in ("login", "auth", "health", "orgs", "users")]


@router.get(f"{_V1}/orgs")
def organisations(caller: CallerDep) -> None:
    """Refuse: nobody is told which organisations there are."""
    raise ForbiddenError(f"Nobody may list the organisations; this key's is {caller.org!r}")


def organisation(caller: CallerDep) -> list[str]:
    """List what an organisation has."""
    return [f"{_V1}/orgs/{caller.org}/{name}" for name in ("datasets", "experiments", "workspaces")]


@router.get("/version")
def installed() -> dict[str, str]:
    """Return the version of this software."""
    return {"version": version("teachback")}


@router.get("/openapi.yaml")
def description(request: Request) -> Response:
    """Return the description of the routes as YAML."""
    return Response(yaml.safe_dump(request.app.openapi(), sort_keys=False), media_type="application/yaml")


@router.get("/swagger")
@router.get("/redoc")
def page() -> RedirectResponse:
    """Lead to the page that describes the routes."""
    return RedirectResponse("/docs")
