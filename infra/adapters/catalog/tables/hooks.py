"""Webhooks: who is told, who may tell us, and which messages came already."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from infra.adapters.catalog.tables.base import ID, NAME, STATE, Base, new_id, now


class Hook(Base):
    """One subscription (`out`), or one sender that a data set listens to (`in`). Its secret is in the vault.

    After a rotation the secret before it is good for a while: nothing is lost while the other side changes over.
    """

    __tablename__ = "hook"
    __table_args__ = (Index("ix_hook_org", "org", "direction"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    direction: Mapped[str] = mapped_column(STATE)  # out | in
    url: Mapped[str] = mapped_column(Text, default="")  # out: where to
    events: Mapped[list[Any]] = mapped_column(default=list)  # out: patterns such as `round.*`
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"))  # in: what it speaks about
    secret_id: Mapped[str | None] = mapped_column(ForeignKey("vault_value.id"))
    previous_secret_id: Mapped[str | None] = mapped_column(ForeignKey("vault_value.id"))
    previous_until: Mapped[float | None]
    worked_at: Mapped[float | None]  # the last message that was taken
    error: Mapped[str] = mapped_column(Text, default="")  # why the last one was not
    created_by: Mapped[str] = mapped_column(NAME, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    deleted_at: Mapped[float | None]


class HookMessage(Base):
    """A message that came in: the same id again within a day does nothing."""

    __tablename__ = "hook_message"

    hook_id: Mapped[str] = mapped_column(ForeignKey("hook.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(256), primary_key=True)
    until: Mapped[float] = mapped_column(index=True)
