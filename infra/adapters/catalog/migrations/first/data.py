"""Data sets, their images and labels, and who has which image."""

import sqlalchemy as sa
from alembic import op

from infra.adapters.catalog.migrations.first.column import Creates, json


def _workspace() -> None:
    op.create_table(
        "workspace",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("spec", json(), nullable=False),
        sa.Column("secret_id", sa.String(length=36)),
        sa.Column("created_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_workspace_org_organisation"),
        sa.ForeignKeyConstraint(["secret_id"], ["vault_value.id"], name="fk_workspace_secret_id_vault_value"),
        sa.PrimaryKeyConstraint("id", name="pk_workspace"),
    )
    op.create_index("ix_workspace_org", "workspace", ["org"])


def _dataset() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("spec", json(), nullable=False),
        sa.Column("shown", json(), nullable=False),
        sa.Column("secret_id", sa.String(length=36)),
        sa.Column("workspace_id", sa.String(length=36)),
        sa.Column("label_seq", sa.Integer(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("synced_at", sa.Double()),
        sa.Column("caught_up_at", sa.Double()),
        sa.Column("created_by", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_dataset_org_organisation"),
        sa.ForeignKeyConstraint(["secret_id"], ["vault_value.id"], name="fk_dataset_secret_id_vault_value"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_dataset_workspace_id_workspace"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
    )
    op.create_index("ix_dataset_org", "dataset", ["org"])


def _image() -> None:
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("study", sa.String(length=64)),
        sa.Column("patient_key", sa.String(length=64), nullable=False),
        sa.Column("held_out", sa.Boolean(), nullable=False),
        sa.Column("fingerprint", sa.String(length=256), nullable=False),
        sa.Column("meta", json(), nullable=False),
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
    skipped = sa.text("skipped_reason != ''")
    op.create_index(
        "ix_image_skipped",
        "image",
        ["dataset_id", "skipped_by", "skipped_reason"],
        sqlite_where=skipped,
        postgresql_where=skipped,
    )
    op.create_index("ix_image_out", "image", ["dataset_id", "key"], sqlite_where=skipped, postgresql_where=skipped)
    of_study = sa.text("study IS NOT NULL")
    op.create_index(
        "ix_image_study", "image", ["dataset_id", "study"], sqlite_where=of_study, postgresql_where=of_study
    )
    op.create_index("ix_image_next", "image", ["dataset_id", "open", "shuffle"])


def _seen_label() -> None:
    op.create_table(
        "seen_label",
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("mark", sa.String(length=128), nullable=False),
        sa.Column("left_out", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_seen_label_dataset_id_dataset"),
        sa.PrimaryKeyConstraint("dataset_id", "mark", name="pk_seen_label"),
    )
    left_out = sa.text("left_out != ''")
    op.create_index(
        "ix_seen_label_left_out",
        "seen_label",
        ["dataset_id", "left_out"],
        sqlite_where=left_out,
        postgresql_where=left_out,
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
        sa.Column("annotated", json()),
        sa.Column("names", json(), nullable=False),
        sa.Column("author", sa.String(length=512), nullable=False),
        sa.Column("author_name", sa.String(length=512), nullable=False),
        sa.Column("tool", sa.String(length=512), nullable=False),
        sa.Column("base_version", sa.String(length=36)),
        sa.Column("params", json(), nullable=False),
        sa.Column("warnings", json(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_label_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_label_image_id_image"),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
        sa.UniqueConstraint(
            "dataset_id",
            "store_key",
            "image_id",
            "fingerprint",
            name="uq_label_dataset_id_store_key_image_id_fingerprint",
        ),
    )
    op.create_index("ix_label_active", "label", ["dataset_id", "state", "seq", "image_id"])
    op.create_index("ix_label_newest", "label", ["dataset_id", "created_at"])
    op.create_index("ix_label_state", "label", ["dataset_id", "state", "created_at"])
    deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "ix_label_deleted", "label", ["dataset_id", "created_at"], sqlite_where=deleted, postgresql_where=deleted
    )
    uploads, in_sqlite = sa.text("upload_pending"), sa.text("upload_pending = 1")
    op.create_index("ix_label_uploads", "label", ["dataset_id"], sqlite_where=in_sqlite, postgresql_where=uploads)
    op.create_index("ix_label_image", "label", ["image_id", "state"])


def _label_tag() -> None:
    op.create_table(
        "label_tag",
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("label_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_label_tag_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_label_tag_image_id_image"),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_label_tag_label_id_label"),
        sa.PrimaryKeyConstraint("image_id", "tag", name="pk_label_tag"),
    )
    op.create_index("ix_label_tag_counted", "label_tag", ["dataset_id", "tag"])
    op.create_index("ix_label_tag_label_id", "label_tag", ["label_id"])


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


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=512), nullable=False),
        sa.Column("names", json(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_lease_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_lease_image_id_image"),
        sa.PrimaryKeyConstraint("dataset_id", "image_id", "layer", name="pk_lease"),
    )
    op.create_index("ix_lease_holder", "lease", ["holder"])
    op.create_index("ix_lease_over", "lease", ["dataset_id", "until"])


def _vocabulary() -> None:
    op.create_table(
        "vocabulary",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("names", json(), nullable=False),
        sa.Column("examined_to", sa.Integer(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_vocabulary_dataset_id_dataset"),
        sa.PrimaryKeyConstraint("id", name="pk_vocabulary"),
        sa.UniqueConstraint("dataset_id", "key", name="uq_vocabulary_dataset_id_key"),
    )


def _image_info() -> None:
    op.create_table(
        "image_info",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("said", json(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_image_info_image_id_image"),
        sa.PrimaryKeyConstraint("image_id", name="pk_image_info"),
    )


def _upload() -> None:
    op.create_table(
        "upload",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.Column("expiry", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name="fk_upload_org_organisation"),
        sa.PrimaryKeyConstraint("id", name="pk_upload"),
    )
    op.create_index("ix_upload_org", "upload", ["org"])


def _unspoken() -> None:
    op.create_table(
        "unspoken",
        sa.Column("vocabulary_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("held_out", sa.Boolean(), nullable=False),
        sa.Column("shuffle", sa.Double(), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.ForeignKeyConstraint(["vocabulary_id"], ["vocabulary.id"], name="fk_unspoken_vocabulary_id_vocabulary"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_unspoken_image_id_image"),
        sa.PrimaryKeyConstraint("vocabulary_id", "image_id", name="pk_unspoken"),
    )
    op.create_index("ix_unspoken_eval", "unspoken", ["vocabulary_id", "held_out", "shuffle"])
    op.create_index("ix_unspoken_first", "unspoken", ["vocabulary_id", "key"])
    op.create_index("ix_unspoken_image_id", "unspoken", ["image_id"])
    op.create_index("ix_unspoken_next", "unspoken", ["vocabulary_id", "shuffle"])


TABLES: Creates = {
    "workspace": _workspace,
    "dataset": _dataset,
    "image": _image,
    "image_info": _image_info,
    "upload": _upload,
    "seen_label": _seen_label,
    "label": _label,
    "label_tag": _label_tag,
    "label_event": _label_event,
    "lease": _lease,
    "vocabulary": _vocabulary,
    "unspoken": _unspoken,
}
