"""What computes on which host, and who has which part of it."""

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.adapters.catalog.tables.base import ID, NAME, STATE, Base, new_id, now

_TRAINS = text("kind = 'train'")


class Device(Base):
    """A graphics processor with its memory in MiB, or a host's processor with its cores."""

    __tablename__ = "device"

    host: Mapped[str] = mapped_column(NAME, primary_key=True)
    kind: Mapped[str] = mapped_column(STATE, primary_key=True)  # gpu | cpu
    index: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[float]
    seen_at: Mapped[float] = mapped_column(default=now())


class DeviceClaim(Base):
    """A part of a device that a process has; the constraint holds that one training has a device at a time.

    `pid` and `born` name the process: one that is not known to be dead keeps its claim beyond the lease.
    """

    __tablename__ = "device_claim"
    __table_args__ = (
        Index(
            "uq_device_claim_train",
            "host",
            "device_kind",
            "device_index",
            unique=True,
            sqlite_where=_TRAINS,
            postgresql_where=_TRAINS,
        ),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    host: Mapped[str] = mapped_column(NAME)
    device_kind: Mapped[str] = mapped_column(STATE)
    device_index: Mapped[int]
    holder: Mapped[str] = mapped_column(String(128), unique=True)
    kind: Mapped[str] = mapped_column(STATE)  # live | train | batch
    amount: Mapped[float]
    least: Mapped[float]  # what it can do with, if it is asked to shrink
    asked: Mapped[bool] = mapped_column(default=False)  # to shrink
    lease_s: Mapped[float]
    lease_until: Mapped[float]
    pid: Mapped[int]
    born: Mapped[str] = mapped_column(String(64))
