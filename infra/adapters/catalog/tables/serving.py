"""Realtime slots: wanted by doors, held by slot processes."""

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from configs.states import SlotState
from infra.adapters.catalog.tables.base import HASH, ID, NAME, STATE, Base, new_id, now


class Slot(Base):
    """One running inference server of one experiment."""

    __tablename__ = "slot"
    __table_args__ = (UniqueConstraint("experiment_id", "replica"), Index("ix_slot_desired", "desired", "lease_until"))

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"))
    replica: Mapped[int] = mapped_column(default=0)
    desired: Mapped[bool] = mapped_column(default=True)
    desired_until: Mapped[float | None]  # started on first use: goes off by itself; NULL = wanted until told otherwise
    state: Mapped[str] = mapped_column(STATE, default=SlotState.WANTED)
    holder: Mapped[str | None] = mapped_column(ID)
    epoch: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None]
    endpoint: Mapped[str] = mapped_column(NAME, default="")
    token: Mapped[str | None] = mapped_column(HASH)  # drawn at each start; the endpoint is loopback or the pod's
    host: Mapped[str] = mapped_column(NAME, default="")
    pid: Mapped[int | None]
    serving_seq: Mapped[int | None]
    failed_seq: Mapped[int | None]
    flow_run_id: Mapped[str | None] = mapped_column(ID)
    sitter_host: Mapped[str] = mapped_column(NAME, default="")  # that run's process: Prefect may not hear of its death
    sitter_pid: Mapped[int | None]
    sitter_born: Mapped[str] = mapped_column(NAME, default="")
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    modified_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
