"""Where the catalog meets the outside: outbox, repeated requests, audit, and who runs the loops."""

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from infra.adapters.catalog.tables.base import HASH, ID, NAME, Base, now


class Outbox(Base):
    """What must happen outside, written in the unit that decides it. A handler may run twice and must not mind."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_due", "done_at", "due_at"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))  # outbox.OutboxKind
    ref: Mapped[str] = mapped_column(String(128), index=True)  # job id, slot id …
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    due_at: Mapped[float] = mapped_column(default=now())
    tries: Mapped[int] = mapped_column(default=0)
    claimed_until: Mapped[float | None]
    done_at: Mapped[float | None]
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(default=now())


class IdempotencyKey(Base):
    """An answer kept for a repeated request."""

    __tablename__ = "idempotency_key"

    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(256), primary_key=True)
    request_hash: Mapped[str] = mapped_column(HASH)
    answer: Mapped[dict[str, Any]]
    until: Mapped[float] = mapped_column(index=True)


class Audit(Base):
    """Who did what, when."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    org: Mapped[str] = mapped_column(NAME, index=True)
    actor: Mapped[str] = mapped_column(NAME)
    action: Mapped[str] = mapped_column(String(64))
    ref: Mapped[str] = mapped_column(String(128), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[float] = mapped_column(default=now())


class LoopLease(Base):
    """Which process runs a loop (reconciler, dispatcher); it only saves work, passes are safe to run twice."""

    __tablename__ = "loop_lease"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(ID)
    until: Mapped[float]
