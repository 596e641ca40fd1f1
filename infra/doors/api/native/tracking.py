"""MLflow's records."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.operating import tracking as service

router = APIRouter(tags=["tracking"])


class RebuildResponse(BaseModel):
    """How many jobs are written to MLflow again; it goes on behind this answer."""

    jobs: int


@router.post("/tracking:rebuild", status_code=HTTPStatus.ACCEPTED)
def rebuild(parts: PartsDep, caller: CallerDep) -> RebuildResponse:
    """Write all of the organisation's runs, model versions and aliases to MLflow again."""
    return RebuildResponse(jobs=service.rebuild(parts, caller))
