"""How the installation is."""

from fastapi import APIRouter, Request

from configs.wire.status import Idle, Status
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.idle import Calls
from infra.services.operating import installation
from infra.services.operating import status as service

router = APIRouter(tags=["status"])


@router.get("/status")
def status(parts: PartsDep, caller: CallerDep) -> Status:
    """Return how things are."""
    return service.status(parts, caller)


@router.get("/idle")
def idle(request: Request, parts: PartsDep, caller: CallerDep) -> Idle:
    """Say for how long nobody has called and nothing was seen to compute."""
    calls: Calls = request.app.state.calls
    if installation.at_work(parts, caller):
        calls.note()
    return Idle(seconds=calls.idle_s())
