"""Whether the server lives and can work."""

from http import HTTPStatus

from fastapi import APIRouter

from infra.doors.api.deps import PartsDep
from infra.services.operating import status

router = APIRouter(prefix="/api/v1", tags=["health"])


@router.get("/health")
def health(parts: PartsDep) -> str:
    """Answer `OK` while the catalog answers."""
    return "OK" if status.alive(parts) else "Error"


@router.get("/health/liveness", status_code=HTTPStatus.CREATED)
def liveness() -> str:
    """Answer `OK` while the process runs."""
    return "OK"


@router.get("/health/readiness", status_code=HTTPStatus.CREATED)
def readiness(parts: PartsDep) -> str:
    """Answer `OK` while the catalog answers."""
    return "OK" if status.alive(parts) else "Error"
