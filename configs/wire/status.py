"""How an organisation's installation is: what the API tells, and the command line reads."""

from pydantic import BaseModel


class Counts(BaseModel):
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


class LoopStatus(BaseModel):
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


class SlotStatus(BaseModel):
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


class Health(BaseModel):
    """Parts that others need; all organisations share them, but for the data sets.

    `isolation`: the cage in which bundle code runs on this machine. `degraded`: data sets whose stores fail, and why.
    """

    catalog: bool = True
    orchestrator: bool
    stuck_deliveries: int
    isolation: str
    degraded: dict[str, str]


class Idle(BaseModel):
    """Seconds since somebody last called this server, or since something was last seen to compute."""

    seconds: float


class Status(BaseModel):
    """Everything of one organisation."""

    counts: Counts
    loops: list[LoopStatus]
    slots: list[SlotStatus]
    health: Health
