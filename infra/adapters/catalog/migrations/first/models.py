"""Bundles, experiments, their model versions, and what is published."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates, json


def _bundle() -> None:
    op.create_table(
        "bundle",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("version", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("labels", json(), nullable=False),
        sa.Column("check", json(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("registered_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("removed_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_bundle"),
    )
    op.create_index("ix_bundle_name", "bundle", ["name"])


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
        sa.Column("workspace_id", sa.String(length=36)),
        sa.Column("labels", json(), nullable=False),
        sa.Column("learns", sa.String(length=16), nullable=False),
        sa.Column("lineage", sa.String(length=36), nullable=False),
        sa.Column("strategy", sa.String(length=48), nullable=False),
        sa.Column("served", sa.Integer(), nullable=False),
        sa.Column("realtime", sa.Boolean(), nullable=False),
        sa.Column("published_version", sa.String(length=36)),
        sa.Column("published_seq", sa.Integer(), nullable=False),
        sa.Column("shown", json(), nullable=False),
        sa.Column("created_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_experiment_workspace_id_workspace"),
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
        sa.Column("metrics", json(), nullable=False),
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
        sa.Column("verdict", json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_publication_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_publication_job_id_job"),
        sa.ForeignKeyConstraint(["previous_id"], ["model_version.id"], name="fk_publication_previous_id_model_version"),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name="fk_publication_version_id_model_version"),
        sa.PrimaryKeyConstraint("id", name="pk_publication"),
        sa.UniqueConstraint("experiment_id", "seq", name="uq_publication_experiment_id_seq"),
        sa.UniqueConstraint("job_id", name="uq_publication_job_id"),
    )


def _candidate() -> None:
    op.create_table(
        "candidate",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=48), nullable=False),
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
    op.create_index("ix_candidate_rank", "candidate", ["experiment_id", "dataset_id", "method", "score", "image_id"])


def _features() -> None:
    op.create_table(
        "features",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=48), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_features_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_features_experiment_id_experiment"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_features_image_id_image"),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name="fk_features_version_id_model_version"),
        sa.PrimaryKeyConstraint("experiment_id", "image_id", "method", name="pk_features"),
    )
    op.create_index("ix_features_image_id", "features", ["image_id"])
    op.create_index("ix_features_of", "features", ["experiment_id", "dataset_id", "method"])


def _case_score() -> None:
    op.create_table(
        "case_score",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("score", json(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_case_score"),
    )


TABLES: Creates = {
    "bundle": _bundle,
    "experiment": _experiment,
    "experiment_dataset": _experiment_dataset,
    "model_version": _model_version,
    "publication": _publication,
    "candidate": _candidate,
    "features": _features,
    "case_score": _case_score,
}
