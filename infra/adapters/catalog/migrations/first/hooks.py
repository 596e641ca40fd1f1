"""Webhooks and the messages that came already."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates, json


def _hook() -> None:
    op.create_table(
        "hook",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", json(), nullable=False),
        sa.Column("dataset_id", sa.String(length=36)),
        sa.Column("secret_id", sa.String(length=36)),
        sa.Column("previous_secret_id", sa.String(length=36)),
        sa.Column("previous_until", sa.Double()),
        sa.Column("worked_at", sa.Double()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=512), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_hook_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_hook_org_organisation"),
        sa.ForeignKeyConstraint(
            ["previous_secret_id"], ["vault_value.id"], name="fk_hook_previous_secret_id_vault_value"
        ),
        sa.ForeignKeyConstraint(["secret_id"], ["vault_value.id"], name="fk_hook_secret_id_vault_value"),
        sa.PrimaryKeyConstraint("id", name="pk_hook"),
    )
    op.create_index("ix_hook_org", "hook", ["org", "direction"])


def _hook_message() -> None:
    op.create_table(
        "hook_message",
        sa.Column("hook_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["hook_id"], ["hook.id"], name="fk_hook_message_hook_id_hook"),
        sa.PrimaryKeyConstraint("hook_id", "id", name="pk_hook_message"),
    )
    op.create_index("ix_hook_message_until", "hook_message", ["until"])


TABLES: Creates = {
    "hook": _hook,
    "hook_message": _hook_message,
}
