"""Data sets, their images, what people say of them, and who has which image."""

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from configs.states import LabelState
from infra.adapters.catalog.tables.base import HASH, ID, NAME, STATE, Base, new_id, now

_SKIPPED = text("skipped_reason != ''")
_OF_STUDY = text("study IS NOT NULL")
_LEFT_OUT = text("left_out != ''")
_UPLOADS, _UPLOADS_SQLITE = text("upload_pending"), text("upload_pending = 1")  # as questions have it there
_DELETED = text("deleted_at IS NOT NULL")


class Workspace(Base):
    """A place in an object store where results of jobs are also written."""

    __tablename__ = "workspace"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    name: Mapped[str] = mapped_column(NAME)
    spec: Mapped[dict[str, Any]]  # configs.specs.workspace.WorkspaceSpec
    secret_id: Mapped[str | None] = mapped_column(ForeignKey("vault_value.id"))
    created_by: Mapped[str] = mapped_column(ID, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    modified_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
    deleted_at: Mapped[float | None]


class Dataset(Base):
    """One image store. `label_seq` numbers the label events in commit order."""

    __tablename__ = "dataset"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    name: Mapped[str] = mapped_column(NAME)
    description: Mapped[str] = mapped_column(Text, default="")
    spec: Mapped[dict[str, Any]]  # configs.specs.dataset.DatasetSpec
    shown: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what a dialect echoes: type, format, version, logo …
    secret_id: Mapped[str | None] = mapped_column(ForeignKey("vault_value.id"))
    workspace_id: Mapped[str | None] = mapped_column(ForeignKey("workspace.id"))
    label_seq: Mapped[int] = mapped_column(default=0)
    images: Mapped[int] = mapped_column(default=0)  # kept by `tallies`
    state: Mapped[str] = mapped_column(STATE, default="ready")  # ready | degraded | listing
    state_reason: Mapped[str] = mapped_column(Text, default="")
    synced_at: Mapped[float | None]
    caught_up_at: Mapped[float | None]  # when all that its store held at first had been taken in
    created_by: Mapped[str] = mapped_column(ID, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    modified_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
    deleted_at: Mapped[float | None]


class Image(Base):
    """One volume of a data set. `key` is the id that callers use.

    Whether it is free stands here, indexed with `shuffle`, so that the next random image is one index look-up.
    """

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("dataset_id", "key"),
        Index("ix_image_next", "dataset_id", "open", "shuffle"),
        Index("ix_image_first", "dataset_id", "open", "key"),
        Index("ix_image_eval", "dataset_id", "open", "held_out", "shuffle"),
        Index(
            "ix_image_skipped",
            "dataset_id",
            "skipped_by",
            "skipped_reason",
            sqlite_where=_SKIPPED,
            postgresql_where=_SKIPPED,
        ),
        Index("ix_image_out", "dataset_id", "key", sqlite_where=_SKIPPED, postgresql_where=_SKIPPED),
        Index("ix_image_study", "dataset_id", "study", sqlite_where=_OF_STUDY, postgresql_where=_OF_STUDY),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"))
    key: Mapped[str] = mapped_column(String(1024))
    name: Mapped[str] = mapped_column(NAME, default="")
    study: Mapped[str | None] = mapped_column(String(64))  # its StudyInstanceUID, where a DICOMweb server has it
    patient_key: Mapped[str] = mapped_column(HASH)  # keyed hash, never the patient's id
    held_out: Mapped[bool] = mapped_column(default=False)  # the keyed hash sends its patient to evaluation
    fingerprint: Mapped[str] = mapped_column(String(256), default="")
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    shuffle: Mapped[float]  # fixed random number in 0..1: the order of `random`
    open: Mapped[bool] = mapped_column(default=True)  # free for all: not labelled, leased, skipped or gone
    skipped_reason: Mapped[str] = mapped_column(Text, default="")
    skipped_by: Mapped[str] = mapped_column(NAME, default="")
    failures: Mapped[int] = mapped_column(default=0)  # times in a row that its bytes could not be read
    added_at: Mapped[float] = mapped_column(default=now())


class ImageInfo(Base):
    """What clients of the MONAI Label dialect say of an image, kept as they said it; few images have any."""

    __tablename__ = "image_info"

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    said: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Upload(Base):
    """An image that a client sent to be predicted, of no data set; it goes when nobody asks for it any more."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    name: Mapped[str] = mapped_column(NAME)  # as its sender calls it, with its ending
    blob: Mapped[str] = mapped_column(HASH)
    expiry: Mapped[float]  # seconds that it lives on after it was used
    created_at: Mapped[float] = mapped_column(default=now())
    used_at: Mapped[float] = mapped_column(default=now())


class SeenLabel(Base):
    """A label found at the source that was looked at and needs no second look: taken in, or left for good."""

    __tablename__ = "seen_label"
    __table_args__ = (
        Index("ix_seen_label_left_out", "dataset_id", "left_out", sqlite_where=_LEFT_OUT, postgresql_where=_LEFT_OUT),
    )

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), primary_key=True)
    mark: Mapped[str] = mapped_column(String(128), primary_key=True)
    left_out: Mapped[str] = mapped_column(String(64), default="")  # why it was not taken in
    at: Mapped[float] = mapped_column(default=now())


class Label(Base):
    """One version of what one person says of one image; never overwritten."""

    __tablename__ = "label"
    __table_args__ = (
        UniqueConstraint("dataset_id", "store_key", "image_id", "fingerprint"),  # a label is also found by its id alone
        Index("ix_label_active", "dataset_id", "state", "seq", "image_id"),
        Index("ix_label_newest", "dataset_id", "created_at"),
        Index("ix_label_state", "dataset_id", "state", "created_at"),
        Index("ix_label_deleted", "dataset_id", "created_at", sqlite_where=_DELETED, postgresql_where=_DELETED),
        Index("ix_label_uploads", "dataset_id", sqlite_where=_UPLOADS_SQLITE, postgresql_where=_UPLOADS),
        Index("ix_label_image", "image_id", "state"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    store_key: Mapped[str] = mapped_column(String(1024))  # the label's id in its store, and in `notify`
    fingerprint: Mapped[str] = mapped_column(String(256))
    blob: Mapped[str | None] = mapped_column(HASH)  # our copy of the bytes, where we have one
    tag: Mapped[str] = mapped_column(String(64), default="final")
    kind: Mapped[str] = mapped_column(STATE, default="mask")  # mask | class | boxes
    version: Mapped[int] = mapped_column(default=1)  # 1, 2 … among the image's labels, in the order they came
    layer: Mapped[int] = mapped_column(default=0)  # which of the image's annotators; -1 = found at the source
    state: Mapped[str] = mapped_column(STATE, default=LabelState.ACTIVE)
    place: Mapped[str] = mapped_column(STATE, default="home")  # where its file is: store | home | elsewhere
    upload_pending: Mapped[bool] = mapped_column(default=False)  # to be written to its place when that is back
    reviewed_by: Mapped[str] = mapped_column(NAME, default="")
    approved: Mapped[bool] = mapped_column(default=False)
    review_reason: Mapped[str] = mapped_column(Text, default="")  # why it was sent back
    handed_back: Mapped[bool] = mapped_column(default=False)  # its author was given the image again
    seq: Mapped[int] = mapped_column(default=0)  # the data set's label_seq of the event that made it active
    imported: Mapped[bool] = mapped_column(default=False)  # found at the source: trains, never counts
    unedited: Mapped[bool] = mapped_column(default=False)  # the model's own output, saved as it was: never evaluates
    annotated: Mapped[list[Any] | None] = mapped_column(default=None)  # label names it speaks about; NULL = all
    names: Mapped[dict[str, Any]] = mapped_column(default=dict)  # value in the file -> name
    author: Mapped[str] = mapped_column(NAME, default="")
    author_name: Mapped[str] = mapped_column(NAME, default="")  # what people call them; a SEG's ContentCreatorName
    tool: Mapped[str] = mapped_column(NAME, default="")
    base_version: Mapped[str | None] = mapped_column(ID)
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[float] = mapped_column(default=now())
    deleted_at: Mapped[float | None]


class LabelTag(Base):
    """A name that points to one of an image's labels; saving under it again moves it. The label's row comes first."""

    __tablename__ = "label_tag"
    __table_args__ = (Index("ix_label_tag_counted", "dataset_id", "tag"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(64), primary_key=True)
    label_id: Mapped[str] = mapped_column(ForeignKey("label.id"), index=True)
    at: Mapped[float] = mapped_column(default=now(), onupdate=now())
    label: Mapped[Label] = relationship(lazy="raise")


class LabelEvent(Base):
    """Something happened to a label; the numbers are the commit order. The label's row comes first."""

    __tablename__ = "label_event"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(STATE)  # added | updated | removed | restored | approved | sent_back
    label_id: Mapped[str] = mapped_column(ForeignKey("label.id"))
    actor: Mapped[str] = mapped_column(NAME, default="")
    at: Mapped[float] = mapped_column(default=now())
    label: Mapped[Label] = relationship(lazy="raise")


class Lease(Base):
    """An image handed to an annotator for a while."""

    __tablename__ = "lease"
    __table_args__ = (Index("ix_lease_over", "dataset_id", "until"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    layer: Mapped[int] = mapped_column(primary_key=True, default=0)
    holder: Mapped[str] = mapped_column(NAME, index=True)
    names: Mapped[list[Any]] = mapped_column(default=list)  # the vocabulary that it was given for; empty = any label
    until: Mapped[float]


class Vocabulary(Base):
    """Label names in which next images of a data set are asked for; experiments with the same names share one.

    Labels that were there before it are looked at little by little: those numbered up to `examined_to` of `until`.
    """

    __tablename__ = "vocabulary"
    __table_args__ = (UniqueConstraint("dataset_id", "key"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"))
    key: Mapped[str] = mapped_column(HASH)  # of the names
    names: Mapped[list[Any]]  # as they are compared
    examined_to: Mapped[int] = mapped_column(default=0)
    until: Mapped[int]


class Unspoken(Base):
    """An image that is labelled, and free for those who ask in a vocabulary of which no label speaks.

    It repeats what the image's order needs, so that the next one is one index look-up here, too.
    """

    __tablename__ = "unspoken"
    __table_args__ = (
        Index("ix_unspoken_next", "vocabulary_id", "shuffle"),
        Index("ix_unspoken_first", "vocabulary_id", "key"),
        Index("ix_unspoken_eval", "vocabulary_id", "held_out", "shuffle"),
    )

    vocabulary_id: Mapped[int] = mapped_column(ForeignKey("vocabulary.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True, index=True)
    held_out: Mapped[bool]
    shuffle: Mapped[float]
    key: Mapped[str] = mapped_column(String(1024))
