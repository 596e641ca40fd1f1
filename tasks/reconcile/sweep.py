"""Rows whose time is over."""

from sqlalchemy import delete, exists, select

from infra.adapters.catalog import loops, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import BearerToken, HookMessage, IdempotencyKey, Lease, Outbox
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.delivery.dispatch import FLOWS
from tasks.images.uploads import uploads_removed
from tasks.selection.leases import reclaim

SWEEP_EVERY_S = 60.0
# Done entries say for a while when something was delivered.
KEPT_S = 7 * 24 * 3600.0


def leases_removed(parts: Parts) -> int:
    """Remove leases, tokens, uploads, answers to repeated requests and webhooks' ids that are over; old deliveries."""
    over = (
        delete(IdempotencyKey).where(IdempotencyKey.until < now()),
        delete(BearerToken).where(BearerToken.until < now()),
        delete(HookMessage).where(HookMessage.until < now()),
        delete(Outbox).where(Outbox.done_at < now() - KEPT_S),
    )
    with parts.catalog.write() as session:
        if not loops.is_time(session, "sweep", SWEEP_EVERY_S):
            return 0
        removed = sum(len(session.execute(statement.returning(1)).all()) for statement in over)
        leased = session.scalars(select(Lease.dataset_id).where(Lease.until < now()).distinct()).all()
        removed += sum(reclaim(session, dataset_id) for dataset_id in leased)
    return removed + uploads_removed(parts)


class Outage:
    """Notices that Prefect answers again, so that what waited for it need not wait out its back-off."""

    def __init__(self) -> None:
        self._answered = False

    def check(self, parts: Parts) -> int:
        """Make what waits for Prefect due now, once, when it answers after it did not."""
        failed = exists().where(
            Outbox.done_at.is_(None), Outbox.tries > 0, Outbox.kind.in_(list(FLOWS)), Outbox.due_at > now()
        )
        with parts.catalog.read() as session:
            if not session.scalar(select(failed)):
                return 0
        answered_before, self._answered = self._answered, parts.orchestrator.healthy()
        if answered_before or not self._answered:
            return 0
        with parts.catalog.write() as session:
            outbox.hasten(session, [OutboxKind(kind) for kind in FLOWS])
        return 1
