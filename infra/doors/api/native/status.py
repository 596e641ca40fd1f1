"""How the installation is."""

from fastapi import APIRouter

from configs.wire.status import Status
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.operating import status as service

router = APIRouter(tags=["status"])


@router.get("/status")
def status(parts: PartsDep, caller: CallerDep) -> Status:
    """Return how things are."""
    return service.status(parts, caller)
