"""Starting and cancelling flow runs. Each may run twice: the orchestrator knows the key, and claims are fenced."""

from functools import partial

from pydantic import BaseModel
from sqlalchemy import or_, select, update

from configs.failpoints import fail_point
from configs.states import TERMINAL, AttemptState
from infra.adapters.catalog import jobs, slots
from infra.adapters.catalog.outbox import Entry
from infra.adapters.catalog.tables import Attempt, Job, Slot
from infra.wiring import Parts
from tasks.batch.start import ACTION as BATCHES
from tasks.batch.start import may_start
from tasks.rounds.jobs.after import waits_for_another
from tasks.rounds.jobs.turns import others_turn
from tasks.selection.scoring import ACTION as SCORINGS

ROUND = "continual-learning-round/default"
BATCH = "batch-inference/default"
SLOT = "realtime-inference/default"
SCORES = "refresh-scores/default"
ASKED_SCORES = "refresh-scores/asked"
_DEPLOYMENTS = {BATCHES: BATCH, SCORINGS: ASKED_SCORES}
_TITLES = {BATCHES: "batch", SCORINGS: "scores"}


class FlowAsked(BaseModel):
    """The payload of `start_flow` and `cancel_flow`: an attempt at a job, or a slot."""

    attempt: int = 0
    slot: bool = False


class ScoresAsked(BaseModel):
    """The payload of `scores`: a number of its own, so that asking twice is one run."""

    run: str


def start_flow(parts: Parts, entry: Entry) -> None:
    """Start the flow of an attempt or a slot, and note the run's id.

    Raises:
        OrchestratorError: If Prefect cannot be reached, or refuses.
        NotFoundError: If the deployment is not registered.
    """
    asked = FlowAsked.model_validate(entry.payload)
    if asked.slot:
        _start_slot(parts, entry)
    else:
        _start_attempt(parts, entry.ref, asked.attempt)


def start_scoring(parts: Parts, entry: Entry) -> None:
    """Start a run that brings one experiment's scores up to date; while another one runs, that or the hourly one does.

    Raises:
        OrchestratorError: If Prefect cannot be reached.
        NotFoundError: If the deployment is not registered.
    """
    parts.orchestrator.start(
        SCORES, {"experiment": entry.ref}, key=ScoresAsked.model_validate(entry.payload).run, name="scores"
    )


def cancel_flow(parts: Parts, entry: Entry) -> None:
    """Cancel the run of an attempt; one that never started finds its attempt taken back and ends by itself.

    Raises:
        OrchestratorError: If Prefect cannot be reached.
    """
    with parts.catalog.read() as session:
        attempt = jobs.attempt(session, entry.ref, FlowAsked.model_validate(entry.payload).attempt)
    if attempt is not None and attempt.flow_run_id is not None:
        parts.orchestrator.cancel(attempt.flow_run_id)


def _start_attempt(parts: Parts, job_id: str, n: int) -> None:
    with parts.catalog.read() as session:
        job = session.get(Job, job_id)
        attempt = jobs.attempt(session, job_id, n)
        waits = session.scalar(select(or_(others_turn(), waits_for_another())).where(Job.id == job_id).select_from(Job))
    if waits:
        return  # whoever has the turn passes it on; the reconciler lets go what waited for another
    if job is None or attempt is None or job.status in TERMINAL:
        return
    if job.current_attempt != n or attempt.state != AttemptState.QUEUED or attempt.flow_run_id is not None:
        return
    if job.action == BATCHES and not parts.catalog.unit(partial(may_start, job_id=job_id, n=n)):
        return
    title = _TITLES.get(job.action, f"round {job.round_no}" if job.round_no else "training")
    run = parts.orchestrator.start(
        _DEPLOYMENTS.get(job.action, ROUND),
        {"job_id": job_id, "attempt": n},
        key=f"{job_id}-{n}",
        name=f"{title}, attempt {n}",
    )
    fail_point(parts.settings, "run-created")
    with parts.catalog.write() as session:
        session.execute(update(Attempt).where(Attempt.job_id == job_id, Attempt.n == n).values(flow_run_id=run))


def _start_slot(parts: Parts, entry: Entry) -> None:
    with parts.catalog.read() as session:
        slot = session.get(Slot, entry.ref)
    if slot is None or not slot.desired:
        return
    # Each time the slot is wanted or lost needs a run of its own; a repeat of this entry finds it.
    key = f"slot-{slot.id}-{entry.id}"
    run = parts.orchestrator.start(SLOT, {"slot_id": slot.id}, key=key, name=f"slot {slot.replica}")
    with parts.catalog.write() as session:
        slots.watched_by(session, slot.id, run)
