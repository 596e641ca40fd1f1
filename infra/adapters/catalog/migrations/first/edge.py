"""The outbox, repeated requests, audit, and who runs the loops."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates, json


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("ref", sa.String(length=128), nullable=False),
        sa.Column("payload", json(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("claimed_until", sa.Double()),
        sa.Column("done_at", sa.Double()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_due", "outbox", ["done_at", "due_at"])
    op.create_index("ix_outbox_ref", "outbox", ["ref"])


def _idempotency_key() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", json(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_idempotency_key_org_organisation"),
        sa.PrimaryKeyConstraint("org", "key", name="pk_idempotency_key"),
    )
    op.create_index("ix_idempotency_key_until", "idempotency_key", ["until"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("actor", sa.String(length=512), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("ref", sa.String(length=128), nullable=False),
        sa.Column("detail", json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_org", "audit", ["org"])
    op.create_index("ix_audit_ref", "audit", ["ref"])


def _loop_lease() -> None:
    op.create_table(
        "loop_lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_loop_lease"),
    )


TABLES: Creates = {
    "outbox": _outbox,
    "idempotency_key": _idempotency_key,
    "audit": _audit,
    "loop_lease": _loop_lease,
}
