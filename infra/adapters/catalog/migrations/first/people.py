"""Organisations, keys, tokens and what the vault keeps."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates


def _organisation() -> None:
    op.create_table(
        "organisation",
        sa.Column("id", sa.String(length=512), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organisation"),
    )


def _api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_api_key_org_organisation"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("secret_hash", name="uq_api_key_secret_hash"),
    )
    op.create_index("ix_api_key_org", "api_key", ["org"])


def _bearer_token() -> None:
    op.create_table(
        "bearer_token",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=36), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name="fk_bearer_token_key_id_api_key"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_bearer_token"),
    )
    op.create_index("ix_bearer_token_key_id", "bearer_token", ["key_id"])
    op.create_index("ix_bearer_token_until", "bearer_token", ["until"])


def _vault_value() -> None:
    op.create_table(
        "vault_value",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vault_value"),
    )


TABLES: Creates = {
    "organisation": _organisation,
    "api_key": _api_key,
    "bearer_token": _bearer_token,
    "vault_value": _vault_value,
}
