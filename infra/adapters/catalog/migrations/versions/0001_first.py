"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Tables that name each other: PostgreSQL gets these constraints when both are there, SQLite within the table.
LATE = (
    ("fk_experiment_published_version_model_version", "experiment", "model_version", "published_version"),
    ("fk_model_version_job_id_job", "model_version", "job", "job_id"),
)


def _json() -> Any:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Create the tables in an order that their foreign keys allow."""
    for create in TABLES.values():
        create()
    if op.get_bind().dialect.name != "sqlite":
        for name, table, other, column in LATE:
            op.create_foreign_key(name, table, other, [column], ["id"])


def downgrade() -> None:
    """Drop everything."""
    if op.get_bind().dialect.name != "sqlite":
        for name, table, _, _ in LATE:
            op.drop_constraint(name, table, type_="foreignkey")
    for table in reversed(TABLES):
        op.drop_table(table)


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("actor", sa.String(length=512), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("ref", sa.String(length=128), nullable=False),
        sa.Column("detail", _json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_org", "audit", ["org"])
    op.create_index("ix_audit_ref", "audit", ["ref"])


def _bundle() -> None:
    op.create_table(
        "bundle",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("version", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("labels", _json(), nullable=False),
        sa.Column("check", _json(), nullable=False),
        sa.Column("registered_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bundle"),
    )
    op.create_index("ix_bundle_name", "bundle", ["name"])


def _loop_lease() -> None:
    op.create_table(
        "loop_lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_loop_lease"),
    )


def _organisation() -> None:
    op.create_table(
        "organisation",
        sa.Column("id", sa.String(length=512), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organisation"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("ref", sa.String(length=128), nullable=False),
        sa.Column("payload", _json(), nullable=False),
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


def _patient_side() -> None:
    op.create_table(
        "patient_side",
        sa.Column("lineage", sa.String(length=36), nullable=False),
        sa.Column("patient_key", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("lineage", "patient_key", name="pk_patient_side"),
    )


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


def _dataset() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("spec", _json(), nullable=False),
        sa.Column("shown", _json(), nullable=False),
        sa.Column("secret_id", sa.String(length=36)),
        sa.Column("label_seq", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("synced_at", sa.Double()),
        sa.Column("created_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_dataset_org_organisation"),
        sa.ForeignKeyConstraint(["secret_id"], ["vault_value.id"], name="fk_dataset_secret_id_vault_value"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
    )
    op.create_index("ix_dataset_org", "dataset", ["org"])


def _experiment() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512)),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("arch", sa.String(length=512), nullable=False),
        sa.Column("base", sa.Boolean(), nullable=False),
        sa.Column("bundle_id", sa.String(length=64), nullable=False),
        sa.Column("base_experiment_id", sa.String(length=36)),
        sa.Column("labels", _json(), nullable=False),
        sa.Column("lineage", sa.String(length=36), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("served", sa.Integer(), nullable=False),
        sa.Column("realtime", sa.Boolean(), nullable=False),
        sa.Column("realtime_off_for_good", sa.Boolean(), nullable=False),
        sa.Column("published_version", sa.String(length=36)),
        sa.Column("published_seq", sa.Integer(), nullable=False),
        sa.Column("shown", _json(), nullable=False),
        sa.Column("created_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(
            ["base_experiment_id"], ["experiment.id"], name="fk_experiment_base_experiment_id_experiment"
        ),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundle.id"], name="fk_experiment_bundle_id_bundle"),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_experiment_org_organisation"),
        sa.ForeignKeyConstraint(
            ["published_version"],
            ["model_version.id"],
            name="fk_experiment_published_version_model_version",
            use_alter=True,
        ),
        sa.PrimaryKeyConstraint("id", name="pk_experiment"),
    )
    op.create_index("ix_experiment_org", "experiment", ["org"])


def _idempotency_key() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", _json(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_idempotency_key_org_organisation"),
        sa.PrimaryKeyConstraint("org", "key", name="pk_idempotency_key"),
    )
    op.create_index("ix_idempotency_key_until", "idempotency_key", ["until"])


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


def _experiment_dataset() -> None:
    op.create_table(
        "experiment_dataset",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("use", sa.String(length=16), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_experiment_dataset_dataset_id_dataset"),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name="fk_experiment_dataset_experiment_id_experiment"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "use", "dataset_id", name="pk_experiment_dataset"),
    )
    op.create_index("ix_experiment_dataset_dataset", "experiment_dataset", ["dataset_id", "use"])


def _image() -> None:
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("patient_key", sa.String(length=64), nullable=False),
        sa.Column("held_out", sa.Boolean(), nullable=False),
        sa.Column("fingerprint", sa.String(length=256), nullable=False),
        sa.Column("meta", _json(), nullable=False),
        sa.Column("shuffle", sa.Double(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("skipped_reason", sa.Text(), nullable=False),
        sa.Column("skipped_by", sa.String(length=512), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_image_dataset_id_dataset"),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("dataset_id", "key", name="uq_image_dataset_id_key"),
    )
    op.create_index("ix_image_eval", "image", ["dataset_id", "open", "held_out", "shuffle"])
    op.create_index("ix_image_first", "image", ["dataset_id", "open", "key"])
    op.create_index("ix_image_next", "image", ["dataset_id", "open", "shuffle"])


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("dataset_id", sa.String(length=36)),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("parent_id", sa.String(length=36)),
        sa.Column("round_no", sa.Integer()),
        sa.Column("current_attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("spec", _json(), nullable=False),
        sa.Column("request", _json(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("result", _json(), nullable=False),
        sa.Column("round_size", sa.Integer()),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("rounds_done", sa.Integer(), nullable=False),
        sa.Column("best_metric", sa.Double()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("to_seq", sa.Integer()),
        sa.Column("snapshot", sa.String(length=64)),
        sa.Column("due_at", sa.Double()),
        sa.Column("first_step_at", sa.Double()),
        sa.Column("tracking_run", sa.String(length=64)),
        sa.Column("events_sent", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=512), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_job_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_job_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_job_org_organisation"),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name="fk_job_parent_id_job"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("parent_id", "round_no", name="uq_job_parent_id_round_no"),
    )
    op.create_index("ix_job_dataset_id", "job", ["dataset_id"])
    op.create_index("ix_job_experiment", "job", ["experiment_id", "created_at"])
    op.create_index("ix_job_status", "job", ["status", "action"])
    op.create_index(
        "uq_job_open_loop",
        "job",
        ["experiment_id"],
        unique=True,
        sqlite_where=sa.text("status NOT IN ('Canceled', 'Done', 'Error') AND action = 'annotation'"),
        postgresql_where=sa.text("status NOT IN ('Canceled', 'Done', 'Error') AND action = 'annotation'"),
    )
    op.create_index(
        "uq_job_training",
        "job",
        ["experiment_id"],
        unique=True,
        sqlite_where=sa.text("status IN ('Canceling', 'Pausing', 'Running') AND action = 'train'"),
        postgresql_where=sa.text("status IN ('Canceling', 'Pausing', 'Running') AND action = 'train'"),
    )
    op.create_index(
        "uq_job_open_round",
        "job",
        ["parent_id"],
        unique=True,
        sqlite_where=sa.text("status NOT IN ('Canceled', 'Done', 'Error') AND parent_id IS NOT NULL"),
        postgresql_where=sa.text("status NOT IN ('Canceled', 'Done', 'Error') AND parent_id IS NOT NULL"),
    )


def _model_version() -> None:
    op.create_table(
        "model_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("bundle_id", sa.String(length=64), nullable=False),
        sa.Column("weights", sa.String(length=64)),
        sa.Column("snapshot", sa.String(length=64)),
        sa.Column("results", sa.String(length=64)),
        sa.Column("parent_id", sa.String(length=36)),
        sa.Column("job_id", sa.String(length=36)),
        sa.Column("metrics", _json(), nullable=False),
        sa.Column("created_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundle.id"], name="fk_model_version_bundle_id_bundle"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_model_version_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_model_version_job_id_job", use_alter=True),
        sa.ForeignKeyConstraint(["parent_id"], ["model_version.id"], name="fk_model_version_parent_id_model_version"),
        sa.PrimaryKeyConstraint("id", name="pk_model_version"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_model_version_experiment_id_number"),
        sa.UniqueConstraint("job_id", name="uq_model_version_job_id"),
    )


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


def _hook() -> None:
    op.create_table(
        "hook",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", _json(), nullable=False),
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


def _attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("flow_run_id", sa.String(length=36)),
        sa.Column("host", sa.String(length=512), nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("claimed_at", sa.Double()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_attempt_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", "n", name="pk_attempt"),
    )
    op.create_index("ix_attempt_state", "attempt", ["state", "lease_until"])


def _candidate() -> None:
    op.create_table(
        "candidate",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("by", sa.String(length=16), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_candidate_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_candidate_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_candidate_image_id_image"),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name="fk_candidate_version_id_model_version"),
        sa.PrimaryKeyConstraint("experiment_id", "image_id", "method", name="pk_candidate"),
    )
    op.create_index("ix_candidate_image_id", "candidate", ["image_id"])
    op.create_index("ix_candidate_rank", "candidate", ["experiment_id", "dataset_id", "method", "score"])


def _decision() -> None:
    op.create_table(
        "decision",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdict", _json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_decision_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", name="pk_decision"),
    )


def _label() -> None:
    op.create_table(
        "label",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("store_key", sa.String(length=1024), nullable=False),
        sa.Column("fingerprint", sa.String(length=256), nullable=False),
        sa.Column("blob", sa.String(length=64)),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("place", sa.String(length=16), nullable=False),
        sa.Column("upload_pending", sa.Boolean(), nullable=False),
        sa.Column("reviewed_by", sa.String(length=512), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("review_reason", sa.Text(), nullable=False),
        sa.Column("handed_back", sa.Boolean(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.Column("unedited", sa.Boolean(), nullable=False),
        sa.Column("annotated", _json()),
        sa.Column("names", _json(), nullable=False),
        sa.Column("author", sa.String(length=512), nullable=False),
        sa.Column("author_name", sa.String(length=512), nullable=False),
        sa.Column("tool", sa.String(length=512), nullable=False),
        sa.Column("base_version", sa.String(length=36)),
        sa.Column("params", _json(), nullable=False),
        sa.Column("warnings", _json(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_label_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_label_image_id_image"),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
        sa.UniqueConstraint(
            "dataset_id",
            "image_id",
            "store_key",
            "fingerprint",
            name="uq_label_dataset_id_image_id_store_key_fingerprint",
        ),
    )
    op.create_index("ix_label_active", "label", ["dataset_id", "state", "seq"])
    op.create_index("ix_label_image", "label", ["image_id", "state"])


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=512), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_lease_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_lease_image_id_image"),
        sa.PrimaryKeyConstraint("dataset_id", "image_id", "layer", name="pk_lease"),
    )
    op.create_index("ix_lease_holder", "lease", ["holder"])
    op.create_index("ix_lease_over", "lease", ["dataset_id", "until"])


def _pending_image() -> None:
    op.create_table(
        "pending_image",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_pending_image_image_id_image"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_pending_image_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", "image_id", name="pk_pending_image"),
    )
    op.create_index("ix_pending_image_image_id", "pending_image", ["image_id"])


def _case_score() -> None:
    op.create_table(
        "case_score",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("score", _json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_case_score"),
    )


def _publication() -> None:
    op.create_table(
        "publication",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("previous_id", sa.String(length=36)),
        sa.Column("job_id", sa.String(length=36)),
        sa.Column("by", sa.String(length=512), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdict", _json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_publication_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_publication_job_id_job"),
        sa.ForeignKeyConstraint(["previous_id"], ["model_version.id"], name="fk_publication_previous_id_model_version"),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name="fk_publication_version_id_model_version"),
        sa.PrimaryKeyConstraint("id", name="pk_publication"),
        sa.UniqueConstraint("experiment_id", "seq", name="uq_publication_experiment_id_seq"),
        sa.UniqueConstraint("job_id", name="uq_publication_job_id"),
    )


def _step_mark() -> None:
    op.create_table(
        "step_mark",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.String(length=32), nullable=False),
        sa.Column("output", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_step_mark_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", "step", name="pk_step_mark"),
    )


def _label_event() -> None:
    op.create_table(
        "label_event",
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("label_id", sa.String(length=36), nullable=False),
        sa.Column("actor", sa.String(length=512), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_label_event_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_label_event_label_id_label"),
        sa.PrimaryKeyConstraint("dataset_id", "seq", name="pk_label_event"),
    )


def _label_tag() -> None:
    op.create_table(
        "label_tag",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("label_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_label_tag_image_id_image"),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_label_tag_label_id_label"),
        sa.PrimaryKeyConstraint("image_id", "tag", name="pk_label_tag"),
    )
    op.create_index("ix_label_tag_label_id", "label_tag", ["label_id"])


def _seen_label() -> None:
    op.create_table(
        "seen_label",
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("mark", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_seen_label_dataset_id_dataset"),
        sa.PrimaryKeyConstraint("dataset_id", "mark", name="pk_seen_label"),
    )


TABLES = {
    "audit": _audit,
    "bundle": _bundle,
    "loop_lease": _loop_lease,
    "organisation": _organisation,
    "outbox": _outbox,
    "patient_side": _patient_side,
    "vault_value": _vault_value,
    "api_key": _api_key,
    "dataset": _dataset,
    "experiment": _experiment,
    "idempotency_key": _idempotency_key,
    "bearer_token": _bearer_token,
    "experiment_dataset": _experiment_dataset,
    "hook": _hook,
    "hook_message": _hook_message,
    "case_score": _case_score,
    "image": _image,
    "job": _job,
    "model_version": _model_version,
    "device": _device,
    "device_claim": _device_claim,
    "slot": _slot,
    "attempt": _attempt,
    "candidate": _candidate,
    "decision": _decision,
    "label": _label,
    "lease": _lease,
    "pending_image": _pending_image,
    "publication": _publication,
    "step_mark": _step_mark,
    "label_event": _label_event,
    "label_tag": _label_tag,
    "seen_label": _seen_label,
}
