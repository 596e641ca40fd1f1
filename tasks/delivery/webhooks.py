"""Telling subscribers: CloudEvents, signed by Standard Webhooks, tried eight times within a day."""

import json
import logging
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import requests
from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from configs.errors import NotFoundError, UpstreamError
from infra.adapters.catalog import audit, hooks, secrets
from infra.adapters.catalog.outbox import Entry
from infra.adapters.catalog.tables import Hook, VaultValue
from infra.adapters.catalog.tables.base import now
from infra.adapters.security.webhooks import signed
from infra.wiring import Parts
from tasks.images.arrived import series_arrived

log = logging.getLogger(__name__)

# Seconds between the eight tries: 24 hours on all, close together at first.
DELAYS_S = (5.0, 300.0, 1800.0, 7200.0, 14400.0, 25200.0, 37495.0)
_CONNECT_S, _READ_S = 5, 15
_SPEC = "1.0"
_PREFIX = "teachback."


class Told(BaseModel):
    """The payload of `webhook`: what happened to which row. Its id is the same for every try."""

    id: str
    event: str
    ref: str
    at: str
    data: dict[str, Any]

    def cloud_event(self) -> bytes:
        """Return the message's body, the same bytes for every try."""
        event = {
            "specversion": _SPEC,
            "id": self.id,
            "source": "/teachback",
            "type": _PREFIX + self.event,
            "subject": self.ref,
            "time": self.at,
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return json.dumps(event, separators=(",", ":"), sort_keys=True).encode()


def deliver(parts: Parts, entry: Entry) -> None:
    """Tell one subscriber; nothing is sent to one that was revoked meanwhile. 410 revokes it.

    Raises:
        UpstreamError: If it does not take the message.
        InvalidRequestError: If its address may not be called any more.
        StoreError: If its name has no address.
    """
    with parts.catalog.read() as session:
        hook = hooks.living(session, entry.ref)
        if hook is None:
            return
        sealed = secrets_of(session, hook)
    keys = [secrets.opened(parts.vault, row) for row in sealed]
    told = Told.model_validate(entry.payload)
    error = _note(parts, hook, _send(parts, hook.url, keys, told))
    if error:
        raise UpstreamError(error)


class Came(BaseModel):
    """The payload of `arrival`: a series that a PACS told of, and who told."""

    series: str


def take_in_arrival(parts: Parts, entry: Entry) -> None:
    """Take in a series that a sender told of without waiting for what becomes of it.

    Raises:
        StoreError: If the store cannot be read now.
    """
    with parts.catalog.read() as session:
        hook = hooks.living(session, entry.ref)
    if hook is None or hook.dataset_id is None:
        return
    arrival = series_arrived(parts, hook.dataset_id, Came.model_validate(entry.payload).series, f"hook/{hook.id}")
    log.info("webhook %s: %s", hook.id, arrival.done)


def secrets_of(session: Session, hook: Hook) -> list[VaultValue]:
    """Return the sealed secrets that are good now, the newest first.

    Raises:
        NotFoundError: If there is none.
    """
    good = [hook.secret_id]
    if hook.previous_until is not None and hook.previous_until > (session.scalar(select(now())) or 0):
        good.append(hook.previous_secret_id)
    rows = [row for value_id in good if value_id and (row := session.get(VaultValue, value_id)) is not None]
    if not rows:
        raise NotFoundError("secret of the webhook", hook.id)
    return rows


def _send(parts: Parts, url: str, keys: list[str], told: Told) -> int | str:
    """Return the status that the receiver answered, or why it did not; never its address, which may hold a secret."""
    body = told.cloud_event()
    headers = {"Content-Type": "application/cloudevents+json", **signed(keys, told.id, body, datetime.now(UTC))}
    try:
        # No redirect: what is signed for one receiver is none of another's. The answer's body is not read.
        with (
            parts.egress.trusting(url).session() as session,
            session.post(
                url, data=body, headers=headers, timeout=(_CONNECT_S, _READ_S), allow_redirects=False, stream=True
            ) as answer,
        ):
            return answer.status_code
    except requests.RequestException as error:
        return type(error).__name__


def _note(parts: Parts, hook: Hook, answer: int | str) -> str:
    """Write down how it went; return why the message was not taken, empty if it was or nobody wants it."""
    taken = answer in range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)
    error = "" if taken or answer == HTTPStatus.GONE else f"the receiver did not take the message ({answer})"
    said: dict[str, Any] = {"error": error, **({"worked_at": now()} if taken else {})}
    with parts.catalog.write() as session:
        session.execute(update(Hook).where(Hook.id == hook.id).values(said))
        if answer == HTTPStatus.GONE:
            session.execute(update(Hook).where(Hook.id == hook.id).values(deleted_at=now()))
            audit.record(session, hook.org, "receiver", "hook.gone", hook.id)
    return error
