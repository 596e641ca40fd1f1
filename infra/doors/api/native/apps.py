"""Apps: models written in Python, registered as bundles."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.native.bundles import RegisteredResponse, SourceRequest
from infra.services.learning import apps

router = APIRouter(tags=["apps"])
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AppSource(SourceRequest):
    """Where the app is, an absolute path on the server's machine, and what `--conf` says."""

    conf: dict[Word, Annotated[str, StringConstraints(max_length=2000)]] = Field(default={}, max_length=100)


@router.post("/apps", status_code=HTTPStatus.CREATED)
def register_app(body: AppSource, parts: PartsDep, caller: CallerDep) -> list[RegisteredResponse]:
    """Examine an app in a bundle host, and list each of its models."""
    return [RegisteredResponse.of(added) for added in apps.add(parts, caller, body.source, body.conf)]
