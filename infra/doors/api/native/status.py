"""How the installation is."""

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel

from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.operating import status as service

router = APIRouter(tags=["status"])


class CountsResponse(BaseModel):
    """How many of what the organisation has."""

    datasets: int
    images: int
    images_waiting: int
    labels: int
    quarantined: int
    pending_uploads: int
    sent_back: int
    experiments: int
    open_jobs: int


class LoopResponse(BaseModel):
    """One open annotation job; `pending` labels wait for its next round, which `round_size` make due."""

    job_id: str
    experiment_id: str
    experiment: str
    status: str
    message: str
    pending: int
    round_size: int
    rounds_done: int
    max_rounds: int | None
    best_metric: float | None
    open_round: int | None


class SlotResponse(BaseModel):
    """One realtime server; it is up to date when `serving_seq` equals `published_seq`."""

    id: str
    experiment_id: str
    experiment: str
    replica: int
    desired: bool
    state: str
    serving_seq: int | None
    published_seq: int
    error: str


class HealthResponse(BaseModel):
    """Parts that others need.

    `isolation`: the cage in which bundle code runs on this machine. `degraded`: data sets whose stores fail, and why.
    """

    catalog: bool = True
    orchestrator: bool
    stuck_deliveries: int
    isolation: str
    degraded: dict[str, str]


class StatusResponse(BaseModel):
    """Everything of one organisation."""

    counts: CountsResponse
    loops: list[LoopResponse]
    slots: list[SlotResponse]
    health: HealthResponse


@router.get("/status")
def status(parts: PartsDep, caller: CallerDep) -> StatusResponse:
    """Return how things are."""
    found = service.status(parts, caller)
    return StatusResponse(
        counts=CountsResponse(**asdict(found.counts)),
        loops=[LoopResponse(**asdict(loop)) for loop in found.loops],
        slots=[SlotResponse(**asdict(slot)) for slot in found.slots],
        health=HealthResponse(
            orchestrator=found.orchestrator,
            stuck_deliveries=found.stuck_deliveries,
            isolation=found.isolation,
            degraded=found.degraded,
        ),
    )
