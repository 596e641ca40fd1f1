"""The first tables."""

from alembic import op

from infra.adapters.catalog.migrations.first import data, devices, edge, hooks, jobs, models, people, serving

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Tables that name each other: PostgreSQL gets these constraints when both are there, SQLite within the table.
LATE = (
    ("fk_experiment_published_version_model_version", "experiment", "model_version", "published_version"),
    ("fk_model_version_job_id_job", "model_version", "job", "job_id"),
)

CREATES = {
    **people.TABLES,
    **data.TABLES,
    **models.TABLES,
    **jobs.TABLES,
    **serving.TABLES,
    **devices.TABLES,
    **edge.TABLES,
    **hooks.TABLES,
}

# PostgreSQL wants the table that a foreign key names to be there first.
ORDER = (
    "audit",
    "bundle",
    "loop_lease",
    "organisation",
    "outbox",
    "patient_side",
    "vault_value",
    "api_key",
    "workspace",
    "dataset",
    "experiment",
    "idempotency_key",
    "bearer_token",
    "experiment_dataset",
    "hook",
    "hook_message",
    "case_score",
    "image",
    "image_info",
    "upload",
    "job",
    "model_version",
    "device",
    "device_claim",
    "slot",
    "attempt",
    "candidate",
    "features",
    "decision",
    "label",
    "lease",
    "pending_image",
    "publication",
    "step_mark",
    "label_event",
    "label_tag",
    "seen_label",
    "vocabulary",
    "unspoken",
)


def upgrade() -> None:
    """Create the tables in an order that their foreign keys allow."""
    for table in ORDER:
        CREATES[table]()
    if op.get_bind().dialect.name != "sqlite":
        for name, table, other, column in LATE:
            op.create_foreign_key(name, table, other, [column], ["id"])


def downgrade() -> None:
    """Drop everything."""
    if op.get_bind().dialect.name != "sqlite":
        for name, table, _, _ in LATE:
            op.drop_constraint(name, table, type_="foreignkey")
    for table in reversed(ORDER):
        op.drop_table(table)
