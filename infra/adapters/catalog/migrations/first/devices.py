"""Devices, and who has which part of them."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates


def _device() -> None:
    op.create_table(
        "device",
        sa.Column("host", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("host", "kind", "index", name="pk_device"),
    )


def _device_claim() -> None:
    op.create_table(
        "device_claim",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=512), nullable=False),
        sa.Column("device_kind", sa.String(length=16), nullable=False),
        sa.Column("device_index", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.Double(), nullable=False),
        sa.Column("least", sa.Double(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("lease_s", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("born", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_device_claim"),
        sa.UniqueConstraint("holder", name="uq_device_claim_holder"),
    )
    training = sa.text("kind = 'train'")
    op.create_index(
        "uq_device_claim_train",
        "device_claim",
        ["host", "device_kind", "device_index"],
        unique=True,
        sqlite_where=training,
        postgresql_where=training,
    )


TABLES: Creates = {
    "device": _device,
    "device_claim": _device_claim,
}
