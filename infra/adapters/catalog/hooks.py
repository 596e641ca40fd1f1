"""Questions about webhooks."""

from collections.abc import Sequence

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from infra.adapters.catalog.tables import Hook, HookMessage
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import insert


def get(session: Session, org: str, hook_id: str) -> Hook:
    """Return one webhook.

    Raises:
        NotFoundError: If the organisation has none of this id, or it was revoked.
    """
    hook = living(session, hook_id)
    if hook is None or hook.org != org:
        raise NotFoundError("webhook", hook_id)
    return hook


def living(session: Session, hook_id: str) -> Hook | None:
    """Return a webhook of any organisation, unless it was revoked."""
    return session.scalar(select(Hook).where(Hook.id == hook_id, Hook.deleted_at.is_(None)))


def listed(session: Session, org: str) -> Sequence[Hook]:
    """Return the organisation's webhooks, the oldest first."""
    query = select(Hook).where(Hook.org == org, Hook.deleted_at.is_(None))
    return session.scalars(query.order_by(Hook.created_at, Hook.id)).all()


def received(session: Session, hook_id: str, message_id: str) -> bool:
    """Say whether this message came before, within a day."""
    known = (HookMessage.hook_id == hook_id, HookMessage.id == message_id, HookMessage.until > now())
    return session.scalar(select(exists().where(*known))) or False


def remember(session: Session, hook_id: str, message_id: str, for_s: float) -> bool:
    """Note that a message came; false if it was noted before. What is no longer needed is forgotten."""
    session.execute(delete(HookMessage).where(HookMessage.until <= now()))
    noting = insert(session, HookMessage).values(hook_id=hook_id, id=message_id, until=now() + for_s)
    return session.scalar(noting.on_conflict_do_nothing().returning(HookMessage.id)) is not None
