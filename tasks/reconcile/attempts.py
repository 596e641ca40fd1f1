"""Attempts that nobody works on, and flow runs that nobody waits for."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Select, and_, exists, select
from sqlalchemy.orm import Session

from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, loops, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Attempt, Job, Outbox
from infra.adapters.catalog.tables.base import now
from infra.adapters.orchestration.base import FlowRun, RunState
from infra.wiring import Parts
from tasks.reconcile import orphans
from tasks.rounds.jobs.after import waits_for_another
from tasks.rounds.jobs.attempts import end_asked, lose
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.jobs.turns import others_turn

IN_PREFECT = "a person, in Prefect"
STALE_EVERY_S = 10.0
# Older jobs are not looked at again and again: what they left was ended long ago, or never will be.
STALE_FOR_S = 24 * 3600.0
# Prefect's workers end a run within seconds; the outbox starts one within a second.
ENDING_S = 30.0
STARTING_S = 120.0  # a run claims its attempt first of all, within seconds: after this, it died on the way
_ASKED_TO_END = (RunState.CANCELLING, RunState.CANCELLED)


class _Seen(NamedTuple):
    """An attempt as it was read; whatever follows from it is checked again in the unit that writes."""

    job_id: str
    n: int
    state: str
    run_id: str
    process: orphans.Process


def unstarted(parts: Parts) -> int:
    """Queue the start of an attempt that nobody has been asked to start: a safety net, expected never to find any."""
    asked = exists().where(Outbox.kind == OutboxKind.START_FLOW, Outbox.ref == Attempt.job_id, Outbox.done_at.is_(None))
    old = Attempt.created_at < now() - ENDING_S
    free = and_(~others_turn(), ~waits_for_another())
    query = _open_attempts(AttemptState.QUEUED).where(Attempt.flow_run_id.is_(None), old, ~asked, free)
    with parts.catalog.read() as session:
        if not session.scalars(query).all():
            return 0  # as a rule: no write lock is taken for that
    with parts.catalog.write() as session:
        found = session.scalars(query).all()  # asked again: it may have been started, or cancelled, meanwhile
        for attempt in found:
            outbox.enqueue(session, OutboxKind.START_FLOW, attempt.job_id, {"attempt": attempt.n})
    return len(found)


def ended_runs(parts: Parts) -> int:
    """Give up attempts whose flow run has ended or is gone; cancel jobs whose run a person cancelled in Prefect."""
    query = _open_attempts(AttemptState.QUEUED, AttemptState.CLAIMED).where(Attempt.flow_run_id.is_not(None))
    with parts.catalog.read() as session:
        seen = _read(session.scalars(query).all())
    if not seen:
        return 0
    runs = parts.orchestrator.runs([each.run_id for each in seen])
    return sum(_settle(parts, each, runs.get(each.run_id)) for each in seen)


def leases_over(parts: Parts) -> int:
    """Give up claimed attempts that were not renewed in time, and end their processes, if these are on this machine."""
    over = and_(Attempt.state == AttemptState.CLAIMED, Attempt.lease_until < now())
    with parts.catalog.read() as session:
        seen = _read(session.scalars(select(Attempt).where(over)).all())
    return sum(_give_up(parts, each) for each in seen)


def asked_to_end(parts: Parts) -> int:
    """Close jobs that were asked to cancel or to pause and that nobody works on."""
    alive = and_(Attempt.state == AttemptState.CLAIMED, Attempt.lease_until >= now())
    worked_on = exists().where(Attempt.job_id == Job.id, Attempt.n == Job.current_attempt, alive)
    query = select(Job.id).where(Job.status.in_([JobStatus.CANCELING, JobStatus.PAUSING]), ~worked_on)
    with parts.catalog.read() as session:
        found = session.scalars(query).all()
    for job_id in found:
        parts.catalog.unit(partial(_close, job_id=job_id))
    return len(found)


def stale_runs(parts: Parts) -> int:
    """End runs whose attempt is over: a dead one would hold its place in the work pool for ever."""
    with parts.catalog.write() as session:
        if not loops.is_time(session, "stale-runs", STALE_EVERY_S):
            return 0
    query = (
        select(Attempt, Job.status)
        .join(Job, Job.id == Attempt.job_id)
        .where(
            Attempt.state.in_([AttemptState.LOST, AttemptState.ENDED]),
            Attempt.flow_run_id.is_not(None),
            Job.modified_at > now() - STALE_FOR_S,
        )
        .order_by(Attempt.created_at.desc())
        .limit(200)
    )
    with parts.catalog.read() as session:
        rows = session.execute(query).all()
    seen = _read([attempt for attempt, _ in rows])
    # A round that is done may still score images: its run is ended only when its process is gone.
    finished = {
        (attempt.job_id, attempt.n)
        for attempt, status in rows
        if attempt.state == AttemptState.ENDED and status != JobStatus.CANCELED
    }
    if not seen:
        return 0
    runs = parts.orchestrator.runs([each.run_id for each in seen])
    return sum(
        _end_run(parts, each, runs[each.run_id], may_cancel=(each.job_id, each.n) not in finished)
        for each in seen
        if each.run_id in runs
    )


def _settle(parts: Parts, seen: _Seen, run: FlowRun | None) -> bool:
    over = run is None or run.state.terminal or _never_claimed(seen, run)
    cancelled = run is not None and run.state in _ASKED_TO_END
    # Of a process on another machine, Prefect's word is not enough: it may train on. Its lease tells.
    dead = over and orphans.is_dead(seen.process)
    # Deleted in Prefect, a run's process is told nothing: it loses its claim, and is ended if it is on this machine.
    deleted = run is None and not dead
    if not (cancelled or dead or deleted or (over and seen.state == AttemptState.QUEUED)):
        return False
    reason = f"its flow run ended before its time ({run.state if run else 'gone'})"

    def settled(session: Session) -> bool:
        """Bring the job in line with its run, if it is still as it was seen."""
        job = _still(session, seen)
        if job is None:
            return False
        if cancelled and job.status != JobStatus.CANCELING:
            cancel(session, job.id, IN_PREFECT)
            if dead:
                end_asked(session, job.id, seen.n)
        elif (dead or deleted) and job.status in {JobStatus.CANCELING, JobStatus.PAUSING}:
            _close(session, job.id)
        elif dead or deleted or seen.state == AttemptState.QUEUED:
            lose(session, job.id, seen.n, reason)
        else:
            return False
        return True

    done = parts.catalog.unit(settled)
    if done and deleted:
        orphans.end(seen.process)
    return done


def _never_claimed(seen: _Seen, run: FlowRun) -> bool:
    """Say whether a run was taken up and never came to its claim: killed with its worker, nobody tells Prefect so."""
    begun = run.state in {RunState.PENDING, RunState.RUNNING}
    return seen.state == AttemptState.QUEUED and begun and run.since_s > STARTING_S


def _give_up(parts: Parts, seen: _Seen) -> bool:

    def given_up(session: Session) -> bool:
        """Give the attempt up, if its lease is still over and nobody has closed it."""
        job = jobs.locked_with_loop(session, seen.job_id)
        over = and_(Attempt.state == AttemptState.CLAIMED, Attempt.lease_until < now())
        attempt = session.scalar(select(Attempt).where(Attempt.job_id == seen.job_id, Attempt.n == seen.n, over))
        if attempt is None:
            return False
        if job.status in TERMINAL or job.current_attempt != seen.n:
            attempt.state = AttemptState.LOST
        elif job.status == JobStatus.PAUSING:
            _close(session, job.id)
        else:
            lose(session, seen.job_id, seen.n, "its process was not heard of in time")
        outbox.enqueue(session, OutboxKind.CANCEL_FLOW, seen.job_id, {"attempt": seen.n})
        return True

    done = parts.catalog.unit(given_up)
    if done:
        orphans.end(seen.process)
    return done


def _close(session: Session, job_id: str) -> None:
    job = jobs.locked_with_loop(session, job_id)
    attempt = jobs.attempt(session, job_id, job.current_attempt)
    if attempt is not None:
        end_asked(session, job_id, job.current_attempt)
    elif job.status == JobStatus.CANCELING:
        job.status = JobStatus.CANCELED
    elif job.status == JobStatus.PAUSING:
        job.status = JobStatus.PAUSED


def _end_run(parts: Parts, seen: _Seen, run: FlowRun, *, may_cancel: bool) -> bool:
    if run.state.terminal:
        return False
    if orphans.is_dead(seen.process) or (run.state == RunState.CANCELLING and run.since_s > ENDING_S):
        parts.orchestrator.end(run.id, f"Attempt {seen.n} is over and its process is gone.")
    elif may_cancel and run.state != RunState.CANCELLING:
        parts.orchestrator.cancel(run.id)
    else:
        return False
    return True


def _still(session: Session, seen: _Seen) -> Job | None:
    """Return the job, its row held, if the attempt is the current one and as it was."""
    job = jobs.locked_with_loop(session, seen.job_id)
    attempt = jobs.attempt(session, seen.job_id, seen.n)
    same = attempt is not None and attempt.state == seen.state and attempt.flow_run_id == seen.run_id
    return job if same and job.current_attempt == seen.n and job.status not in TERMINAL else None


def _open_attempts(*states: AttemptState) -> Select[tuple[Attempt]]:
    current = and_(Job.id == Attempt.job_id, Job.current_attempt == Attempt.n)
    return select(Attempt).join(Job, current).where(Attempt.state.in_(states), Job.status.not_in(TERMINAL))


def _read(attempts: Sequence[Attempt]) -> list[_Seen]:
    return [_Seen(each.job_id, each.n, each.state, each.flow_run_id or "", _process(each)) for each in attempts]


def _process(attempt: Attempt) -> orphans.Process:
    return orphans.Process(attempt.host, attempt.pid, attempt.born)
