"""The outbox: what must happen outside, written in the unit that decides it and delivered later.

An entry is claimed for a while, handled, and marked done or put back with a growing delay. Handlers may run twice:
a process that dies after the effect and before `done` leaves the entry to the next one, when its claim runs out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.tables.edge import Outbox

# Doubled with each try: a hiccup passes within seconds, and a server that is down for hours is not flooded.
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
# A day covers a night's maintenance; what waits longer needs a person, and the status says so.
STUCK_AFTER_S = 24 * 3600.0
# Longer than any handler takes, or a second one would deliver beside it; after a kill it is what is waited for.
CLAIM_S = 120.0


class OutboxKind(StrEnum):
    """What can be asked of the outside."""

    START_FLOW = "start_flow"
    CANCEL_FLOW = "cancel_flow"
    TRACKING = "tracking"
    TRACKING_ELSEWHERE = "tracking_elsewhere"
    WEBHOOK = "webhook"
    ARRIVAL = "arrival"
    STORE_LABEL = "store_label"
    RESULTS = "results"
    LISTING = "listing"
    SCORES = "scores"


@dataclass(frozen=True)
class Entry:
    """A claimed entry. `tries` counts claims, this one included, and is the claim's proof."""

    id: int
    kind: OutboxKind
    ref: str
    payload: dict[str, Any]
    tries: int


def enqueue(
    session: Session, kind: OutboxKind, ref: str, payload: dict[str, Any] | None = None, *, due_in_s: float = 0
) -> None:
    """Ask for something outside, once this unit is committed and *due_in_s* seconds have gone.

    Args:
        session: The unit that decides it.
        kind: Chooses the handler.
        ref: The row it is about: a job's id, a slot's id.
        payload: What the handler needs besides; catalog ids and numbers only, never a secret.
        due_in_s: Seconds to wait before the first try.
    """
    session.add(Outbox(kind=kind, ref=ref, payload=payload or {}, due_at=now() + due_in_s))


def due(session: Session, kinds: Collection[OutboxKind] = tuple(OutboxKind)) -> bool:
    """Say whether an entry waits to be claimed; a read, so that an idle dispatcher takes no write lock."""
    return session.scalar(select(exists().where(_claimable(kinds)))) or False


def claim(session: Session, kinds: Collection[OutboxKind] = tuple(OutboxKind), *, limit: int = 1) -> list[Entry]:
    """Take up to *limit* due entries, oldest first; nobody else gets them for `CLAIM_S` seconds."""
    query = select(Outbox).where(_claimable(kinds)).order_by(Outbox.due_at, Outbox.id).limit(limit)
    rows = session.scalars(query.with_for_update(skip_locked=True)).all()  # SQLite: the unit is alone already
    for row in rows:
        row.tries += 1
        row.claimed_until = now() + CLAIM_S  # SQL, computed by the statement
    return [Entry(row.id, OutboxKind(row.kind), row.ref, row.payload, row.tries) for row in rows]


def done(session: Session, entry: Entry) -> bool:
    """Mark *entry* delivered; false when its claim ran out and somebody else has it, which does no harm."""
    return _settle(session, entry, done_at=now(), claimed_until=None, error="")


def given_up(session: Session, entry: Entry, error: str) -> bool:
    """Mark *entry* as one that nobody tries again."""
    return _settle(session, entry, done_at=now(), claimed_until=None, error=error[:500])


def failed(session: Session, entry: Entry, error: str, *, delay_s: float | None = None) -> bool:
    """Put *entry* back: due again after 1, 2, 4 … seconds, at most 5 minutes.

    Args:
        session: A unit.
        entry: As claimed.
        error: What went wrong, without secrets or patient identifiers; shown in the status.
        delay_s: Seconds until the next try, where the kind has delays of its own.
    """
    # The power is bounded, too: what fails for months would make a number that is none.
    delay = min(FIRST_DELAY_S * 2.0 ** min(entry.tries - 1, 16), LONGEST_DELAY_S) if delay_s is None else delay_s
    return _settle(session, entry, due_at=now() + delay, claimed_until=None, error=error[:500])


def hasten(session: Session, kinds: Collection[OutboxKind]) -> None:
    """Make what waits after a failure due now: the system that had failed is known to answer again."""
    waiting = and_(Outbox.done_at.is_(None), Outbox.tries > 0, Outbox.kind.in_(list(kinds)))
    session.execute(update(Outbox).where(waiting, Outbox.due_at > now()).values(due_at=now()))


def undelivered(session: Session, kind: OutboxKind, ref: str) -> bool:
    """Say whether an entry of *kind* about *ref* still waits."""
    return session.scalar(select(exists().where(Outbox.done_at.is_(None), Outbox.kind == kind, Outbox.ref == ref))) or (
        False
    )


def waiting(session: Session, kind: OutboxKind) -> bool:
    """Say whether an entry of *kind* waits after a failure."""
    late = and_(Outbox.done_at.is_(None), Outbox.kind == kind, Outbox.tries > 0, Outbox.due_at > now())
    return session.scalar(select(exists().where(late))) or False


def stuck(session: Session, *, limit: int = 100) -> Sequence[Outbox]:
    """Return entries that could not be delivered for a day, oldest first, for status pages."""
    # What is due later than that has delays of its own, and is given up by itself one day.
    late = Outbox.created_at < now() - STUCK_AFTER_S
    query = select(Outbox).where(Outbox.done_at.is_(None), Outbox.due_at < now() + LONGEST_DELAY_S, late)
    return session.scalars(query.order_by(Outbox.id).limit(limit)).all()


def _claimable(kinds: Collection[OutboxKind]) -> ColumnElement[bool]:
    free = or_(Outbox.claimed_until.is_(None), Outbox.claimed_until < now())
    return and_(Outbox.done_at.is_(None), Outbox.due_at <= now(), free, Outbox.kind.in_(list(kinds)))


def _settle(session: Session, entry: Entry, **values: Any) -> bool:
    mine = and_(Outbox.id == entry.id, Outbox.tries == entry.tries, Outbox.done_at.is_(None))
    return session.scalar(update(Outbox).where(mine).values(values).returning(Outbox.id)) is not None
