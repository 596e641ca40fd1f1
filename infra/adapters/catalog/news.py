"""What subscribers are told, read off the rows that a unit changes and written to the outbox in that unit.

No rule can forget to tell, and none can tell what was rolled back. Messages carry catalog ids and numbers only.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from sqlalchemy import bindparam, event, inspect, select
from sqlalchemy.orm import Session, sessionmaker

from configs.states import JobStatus
from infra.adapters.catalog import direct
from infra.adapters.catalog.outbox import OutboxKind, enqueue
from infra.adapters.catalog.tables import Dataset, Hook, Job, LabelEvent
from infra.adapters.catalog.tables.base import new_id

EVENTS = (
    "job.state",
    "round.finished",
    "round.published",
    "round.kept_back",
    "round.skipped",
    "round.failed",
    "label.saved",
    "label.removed",
    "dataset.degraded",
)
_SUBSCRIBED = select(Hook.id, Hook.events).where(
    Hook.org == bindparam("org"), Hook.direction == "out", Hook.deleted_at.is_(None)
)
_DECISIONS = ("published", "kept_back", "skipped")


class News(NamedTuple):
    """One thing that happened: in whose organisation, what, to which row, and its numbers."""

    org: str
    event: str
    ref: str
    data: dict[str, Any]


def install(units: sessionmaker[Session]) -> None:
    """Have every unit of this factory tell subscribers."""
    event.listen(units, "before_flush", _tell)


def _tell(session: Session, _context: object, _instances: object) -> None:
    # A question in the middle of a flush would begin another flush.
    with session.no_autoflush:
        news = [each for row in [*session.new, *session.dirty] for each in _read(session, row)]
        for org in {each.org for each in news}:
            for hook, events in direct.run(session, _SUBSCRIBED, {"org": org}).tuples().all():
                for each in news:
                    if each.org == org and any(fnmatchcase(each.event, str(wanted)) for wanted in events):
                        enqueue(session, OutboxKind.WEBHOOK, hook, _message(each))


def _message(news: News) -> dict[str, Any]:
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"id": f"msg_{new_id()}", "event": news.event, "ref": news.ref, "at": moment, "data": news.data}


def _read(session: Session, row: object) -> Iterator[News]:
    if isinstance(row, Job) and _changed(row, "status"):
        yield from _of_job(row)
    elif isinstance(row, LabelEvent) and _changed(row, "seq"):
        dataset = session.get(Dataset, row.dataset_id)
        if dataset is not None:
            saved = "label.removed" if row.kind == "removed" else "label.saved"
            data = {"label_id": row.label_id, "dataset_id": dataset.id, "number": row.seq, "kind": row.kind}
            yield News(dataset.org, saved, row.label_id, data)
    elif isinstance(row, Dataset) and _changed(row, "state") and row.state == "degraded":
        yield News(row.org, "dataset.degraded", row.id, {"dataset_id": row.id, "reason": row.state_reason})


def _of_job(job: Job) -> Iterator[News]:
    job.id = job.id or new_id()  # a new row gets its default only when it is flushed
    data: dict[str, Any] = {
        "job_id": job.id,
        "experiment_id": job.experiment_id,
        "action": job.action,
        "status": str(job.status),
        "loop_id": job.parent_id,
        "round": job.round_no,
    }
    yield News(job.org, "job.state", job.id, data)
    if job.action != "train":
        return
    if job.status == JobStatus.ERROR:
        yield News(job.org, "round.failed", job.id, data)
    if job.status == JobStatus.DONE:
        result = dict(job.result or {})
        decision = result.get("decision")
        told = data | {name: result.get(name) for name in ("decision", "key_metric", "metric_kind", "metric_cases")}
        yield News(job.org, "round.finished", job.id, told)
        if decision in _DECISIONS:
            yield News(job.org, f"round.{decision}", job.id, told)


def _changed(row: object, name: str) -> bool:
    # A row that was only read has no history: news is what this unit sets.
    history = inspect(row, raiseerr=True).attrs[name].history
    return bool(history.added)
