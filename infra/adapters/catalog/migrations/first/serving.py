"""Realtime slots."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates


def _slot() -> None:
    op.create_table(
        "slot",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("replica", sa.Integer(), nullable=False),
        sa.Column("desired", sa.Boolean(), nullable=False),
        sa.Column("desired_until", sa.Double()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("holder", sa.String(length=36)),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("endpoint", sa.String(length=512), nullable=False),
        sa.Column("token", sa.String(length=64)),
        sa.Column("host", sa.String(length=512), nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("serving_seq", sa.Integer()),
        sa.Column("failed_seq", sa.Integer()),
        sa.Column("flow_run_id", sa.String(length=36)),
        sa.Column("sitter_host", sa.String(length=512), nullable=False),
        sa.Column("sitter_pid", sa.Integer()),
        sa.Column("sitter_born", sa.String(length=512), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_slot_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_slot_org_organisation"),
        sa.PrimaryKeyConstraint("id", name="pk_slot"),
        sa.UniqueConstraint("experiment_id", "replica", name="uq_slot_experiment_id_replica"),
    )
    op.create_index("ix_slot_desired", "slot", ["desired", "lease_until"])
    op.create_index("ix_slot_org", "slot", ["org"])


TABLES: Creates = {
    "slot": _slot,
}
