"""Webhooks: who is told what happens here, and which PACS may tell us of a new series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, UnauthorizedError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import audit, datasets, outbox, secrets
from infra.adapters.catalog import hooks as catalog
from infra.adapters.catalog.news import EVENTS
from infra.adapters.catalog.tables import Dataset, Hook, VaultValue
from infra.adapters.catalog.tables.base import new_id, now
from infra.adapters.security.tokens import new_webhook_secret
from infra.adapters.security.webhooks import verified
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.delivery.webhooks import Came, secrets_of
from tasks.images.arrived import Arrival, series_arrived
from tasks.reconcile.loop import wake

# The secret before a rotation is good for another day: the other side changes over without losing a message.
CHANGE_OVER_S = REMEMBERED_S = 24 * 3600.0
_AGAIN = "this message came before"
_NO_SERIES = "the message names no series as data.series: there is nothing to do"


@dataclass(frozen=True)
class NewHook:
    """A webhook with its signing secret, which is shown now and never again."""

    row: Hook
    secret: str


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore")

    series: str = Field(max_length=64, pattern=r"^[0-9.]+$")


class _Message(BaseModel):
    """A CloudEvent as far as it matters here."""

    model_config = ConfigDict(extra="ignore")

    data: _Data


def subscribe(parts: Parts, caller: Caller, url: str, events: Sequence[str]) -> NewHook:
    """Have an address told what happens. That an admin names it allows it, whatever network it is in.

    Raises:
        ForbiddenError: If the caller may not.
        InvalidRequestError: If the address cannot be called at all, or an event is none.
        StoreError: If the address's name cannot be resolved.
    """
    allow(caller, Right.MANAGE_HOOKS)
    parts.egress.trusting(url).check(url)
    for wanted in events or [""]:
        if not any(fnmatchcase(known, wanted) for known in EVENTS):
            raise InvalidRequestError(f"No event is named {wanted!r}: there are {', '.join(EVENTS)}, and round.*")
    return _made(parts, caller, Hook(id=new_id(), direction="out", url=url, events=list(events)))


def listen(parts: Parts, caller: Caller, dataset: str) -> NewHook:
    """Let a PACS tell of new series of a data set, by the data set's id or name.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set.
        InvalidRequestError: If it is no DICOMweb server.
    """
    allow(caller, Right.MANAGE_HOOKS)
    with parts.catalog.read() as session:
        row = datasets.find(session, caller.org, dataset)
    if DatasetSpec.model_validate(row.spec).kind != "dicomweb":
        raise InvalidRequestError("Only a PACS tells of new series: this data set is no DICOMweb server")
    return _made(parts, caller, Hook(id=new_id(), direction="in", events=[], dataset_id=row.id))


def listed(parts: Parts, caller: Caller) -> Sequence[Hook]:
    """Return the organisation's webhooks, without secrets.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.MANAGE_HOOKS)
    with parts.catalog.read() as session:
        return catalog.listed(session, caller.org)


def rotate(parts: Parts, caller: Caller, hook_id: str) -> NewHook:
    """Give a webhook a new secret; the one before it is good for another day.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has no such webhook.
    """
    allow(caller, Right.MANAGE_HOOKS)
    secret = new_webhook_secret()
    with parts.catalog.write() as session:
        row = catalog.get(session, caller.org, hook_id)
        older = row.previous_secret_id
        row.previous_secret_id, row.previous_until = row.secret_id, session.scalar(select(now() + CHANGE_OVER_S))
        row.secret_id = _seal(parts, session, caller.org, secret)
        session.flush()
        # Of three secrets the oldest goes: whoever rotates twice in a day wants the first one gone.
        session.execute(delete(VaultValue).where(VaultValue.id == older))
        audit.record(session, caller.org, caller.subject, "hook.rotate", hook_id)
    return NewHook(row, secret)


def revoke(parts: Parts, caller: Caller, hook_id: str) -> None:
    """End a webhook at once, and forget its secrets.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has no such webhook.
    """
    allow(caller, Right.MANAGE_HOOKS)
    with parts.catalog.write() as session:
        row = catalog.get(session, caller.org, hook_id)
        kept = [row.secret_id, row.previous_secret_id]
        row.secret_id = row.previous_secret_id = None
        row.deleted_at = session.scalar(select(now()))
        session.flush()
        # Only now: until the flush above the webhook refers to them.
        session.execute(delete(VaultValue).where(VaultValue.id.in_([value for value in kept if value])))
        audit.record(session, caller.org, caller.subject, "hook.revoke", hook_id)


def receive(parts: Parts, hook_id: str, headers: Mapping[str, str], body: bytes, *, later: bool) -> Arrival:
    """Take in what a PACS tells. The same message again within a day does nothing.

    Args:
        parts: The adapters.
        hook_id: As in the address that the sender was given.
        headers: The message's.
        body: A CloudEvent, or any JSON object with `data.series`: a SeriesInstanceUID.
        later: The sender does not wait for what becomes of it; it is taken in soon, and tried again if that fails.

    Raises:
        UnauthorizedError: If it is not signed by this webhook's secret, or there is no such webhook.
        StoreError: If the store cannot be read now: the sender tries again.
    """
    hook, message_id = _authentic(parts, hook_id, headers, body)
    with parts.catalog.read() as session:
        dataset = session.get(Dataset, hook.dataset_id)
        again = catalog.received(session, hook.id, message_id)
    if again or dataset is None or dataset.deleted_at is not None:
        return Arrival(done="nothing", reason=_AGAIN if again else "the data set was deleted")
    try:
        series = _Message.model_validate_json(body).data.series
    except ValidationError:
        return Arrival(done="nothing", reason=_NO_SERIES)
    if later:
        _put_off(parts, hook, message_id, series)
        return Arrival(done="later", reason="it is looked at next")
    # Before the message is remembered: done twice it does nothing new, remembered and not done it would be lost.
    arrival = series_arrived(parts, dataset.id, series, f"hook/{hook.id}")
    with parts.catalog.write() as session:
        if catalog.remember(session, hook.id, message_id, REMEMBERED_S):
            session.merge(hook).worked_at = session.scalar(select(now()))
            audit.record(session, hook.org, f"hook/{hook.id}", "hook.receive", dataset.id, done=arrival.done)
    wake()
    return arrival


def _authentic(parts: Parts, hook_id: str, headers: Mapping[str, str], body: bytes) -> tuple[Hook, str]:
    with parts.catalog.read() as session:
        hook = catalog.living(session, hook_id)
        sealed = secrets_of(session, hook) if hook is not None and hook.direction == "in" else []
    if hook is None or not sealed:
        raise UnauthorizedError("There is no such webhook, or it was revoked: ask an admin for its address and secret")
    return hook, verified([secrets.opened(parts.vault, row) for row in sealed], headers, body)


def _put_off(parts: Parts, hook: Hook, message_id: str, series: str) -> None:
    with parts.catalog.write() as session:
        if catalog.remember(session, hook.id, message_id, REMEMBERED_S):
            session.merge(hook).worked_at = session.scalar(select(now()))
            outbox.enqueue(session, outbox.OutboxKind.ARRIVAL, hook.id, Came(series=series).model_dump())
            audit.record(session, hook.org, f"hook/{hook.id}", "hook.receive", hook.dataset_id or "", done="later")


def _made(parts: Parts, caller: Caller, row: Hook) -> NewHook:
    secret = new_webhook_secret()
    with parts.catalog.write() as session:
        row.org, row.created_by, row.secret_id = caller.org, caller.subject, _seal(parts, session, caller.org, secret)
        session.add(row)
        audit.record(session, caller.org, caller.subject, "hook.create", row.id, direction=row.direction)
        session.flush()
        session.refresh(row)
    return NewHook(row, secret)


def _seal(parts: Parts, session: Session, org: str, secret: str) -> str:
    parts.redactor.learn(secret)
    row = secrets.sealed(parts.vault, org, secret)
    session.add(row)
    session.flush()
    return row.id
