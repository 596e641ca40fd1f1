"""Times that lie further ahead than anything may: the clock was set back since they were written.

Whatever waits for such a time would wait as long as the clock was wrong, which may be years after a start without a
battery: a dead attempt would not be missed, a delivery not tried again. It gets the time that it would be given now.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, exists, or_, select, text, update
from sqlalchemy.orm import Session

from configs.settings import Settings
from configs.states import AttemptState
from infra.adapters.catalog.outbox import CLAIM_S, LONGEST_DELAY_S, OutboxKind
from infra.adapters.catalog.tables import Attempt, BearerToken, Dataset, DeviceClaim, Lease, Outbox, Slot
from infra.adapters.catalog.tables.base import Base, now
from infra.adapters.security.tokens import TOKEN_LIFE_S
from infra.wiring import Parts
from tasks.delivery.dispatch import DELAYS_S
from tasks.serving.on_demand import IDLE_S

MARGIN = 2.0
"""Processes whose settings differ must not shorten each other's leases."""


class _Time(NamedTuple):
    """A column, the seconds from now that it is given at most, and whose rows are meant."""

    table: type[Base]
    key: str
    longest_s: ColumnElement[float] | float
    rows: tuple[ColumnElement[bool], ...] = ()

    def ahead(self) -> ColumnElement[bool]:
        """Whether a row's time is one that only a clock that was set back explains."""
        wrong: ColumnElement[bool] = self.table.__table__.c[self.key] > now() + self.longest_s * MARGIN + 1.0
        return wrong


def set_back(parts: Parts) -> int:
    """Bring such times near, and return how many there were."""
    times = _times(parts.settings)
    found = or_(*(exists().where(each.ahead(), *each.rows) for each in times))
    with parts.catalog.read() as session:
        if not session.scalar(select(found)):
            return 0
    with parts.catalog.write() as session:
        return sum(_bring_near(session, each) for each in times)


def _bring_near(session: Session, time: _Time) -> int:
    change = update(time.table).where(time.ahead(), *time.rows).values({time.key: now() + time.longest_s})
    return len(session.execute(change.returning(text("1"))).all())


def _times(settings: Settings) -> list[_Time]:
    waits = Outbox.done_at.is_(None)
    own = [kind for kind in OutboxKind if kind in DELAYS_S]
    return [
        _Time(Attempt, "lease_until", settings.attempt_lease_s, (Attempt.state == AttemptState.CLAIMED,)),
        _Time(Lease, "until", settings.image_lease_s),
        _Time(Slot, "lease_until", settings.slot_lease_s),
        _Time(Slot, "desired_until", IDLE_S),
        _Time(DeviceClaim, "lease_until", DeviceClaim.__table__.c["lease_s"]),
        _Time(Outbox, "claimed_until", CLAIM_S, (waits,)),
        _Time(Outbox, "due_at", LONGEST_DELAY_S, (waits, Outbox.kind.not_in(own))),
        *(_Time(Outbox, "due_at", max(DELAYS_S[kind]), (waits, Outbox.kind == kind)) for kind in own),
        _Time(BearerToken, "until", TOKEN_LIFE_S),
        _Time(Dataset, "synced_at", 0.0),
    ]
