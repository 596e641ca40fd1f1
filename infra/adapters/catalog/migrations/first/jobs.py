"""Jobs, their attempts and steps, and what a round counts."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates, json


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("dataset_id", sa.String(length=36)),
        sa.Column("workspace_id", sa.String(length=36)),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("parent_id", sa.String(length=36)),
        sa.Column("after_id", sa.String(length=36)),
        sa.Column("round_no", sa.Integer()),
        sa.Column("current_attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("platform", sa.String(length=16), nullable=False),
        sa.Column("spec", json(), nullable=False),
        sa.Column("request", json(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("result", json(), nullable=False),
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
        sa.ForeignKeyConstraint(["after_id"], ["job.id"], name="fk_job_after_id_job"),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_job_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_job_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_job_org_organisation"),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name="fk_job_parent_id_job"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_job_workspace_id_workspace"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("parent_id", "round_no", name="uq_job_parent_id_round_no"),
    )
    _job_indexes()


def _job_indexes() -> None:
    op.create_index("ix_job_dataset", "job", ["dataset_id", "action", "status"])
    op.create_index("ix_job_experiment", "job", ["experiment_id", "created_at"])
    op.create_index("ix_job_experiment_modified", "job", ["experiment_id", "modified_at"])
    op.create_index("ix_job_org_modified", "job", ["org", "modified_at"])
    op.create_index("ix_job_status", "job", ["status", "action"])
    open_ = "status NOT IN ('Canceled', 'Done', 'Error')"
    training = "status IN ('Canceling', 'Pausing', 'Running')"
    _one_at_a_time("uq_job_open_loop", "experiment_id", where=f"{open_} AND action = 'annotation'")
    _one_at_a_time("uq_job_training", "experiment_id", where=f"{training} AND action = 'train'")
    _one_at_a_time("uq_job_open_round", "parent_id", where=f"{open_} AND parent_id IS NOT NULL")


def _one_at_a_time(name: str, column: str, *, where: str) -> None:
    op.create_index(name, "job", [column], unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


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
        sa.Column("born", sa.String(length=512), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_attempt_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", "n", name="pk_attempt"),
    )
    op.create_index("ix_attempt_state", "attempt", ["state", "lease_until"])


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


def _patient_side() -> None:
    op.create_table(
        "patient_side",
        sa.Column("lineage", sa.String(length=36), nullable=False),
        sa.Column("patient_key", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("lineage", "patient_key", name="pk_patient_side"),
    )


def _decision() -> None:
    op.create_table(
        "decision",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdict", json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_decision_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", name="pk_decision"),
    )


TABLES: Creates = {
    "job": _job,
    "attempt": _attempt,
    "step_mark": _step_mark,
    "pending_image": _pending_image,
    "patient_side": _patient_side,
    "decision": _decision,
}
