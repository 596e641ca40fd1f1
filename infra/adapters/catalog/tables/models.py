"""Bundles, experiments, their model versions, and what is published."""

from typing import Any

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from infra.adapters.catalog.tables.base import HASH, ID, METHOD, NAME, STATE, Base, new_id, now


class Bundle(Base):
    """A registered MONAI bundle; the id is the hash of its content."""

    __tablename__ = "bundle"

    id: Mapped[str] = mapped_column(HASH, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, index=True)
    version: Mapped[str] = mapped_column(NAME)
    description: Mapped[str] = mapped_column(Text, default="")
    tier: Mapped[str] = mapped_column(STATE)
    labels: Mapped[dict[str, Any]]  # index (as text) -> name, a mask's background left out
    check: Mapped[dict[str, Any]]  # configs.wire.host.CheckResult
    source: Mapped[str] = mapped_column(Text, default="")  # path or address, without what may be secret in it
    registered_by: Mapped[str] = mapped_column(ID, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    removed_at: Mapped[float | None]  # hidden: rounds of experiments that are gone still name it


class Experiment(Base):
    """A bundle, its data sets, its label names and its model versions.

    A base experiment (`base = True`) belongs to no organisation, is read-only and only names a bundle.
    """

    __tablename__ = "experiment"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str | None] = mapped_column(ForeignKey("organisation.id"), index=True)
    name: Mapped[str] = mapped_column(NAME)
    description: Mapped[str] = mapped_column(Text, default="")
    arch: Mapped[str] = mapped_column(NAME)  # network_arch of the MONAI Cloud dialect
    base: Mapped[bool] = mapped_column(default=False)
    bundle_id: Mapped[str] = mapped_column(ForeignKey("bundle.id"))
    base_experiment_id: Mapped[str | None] = mapped_column(ForeignKey("experiment.id"))
    workspace_id: Mapped[str | None] = mapped_column(ForeignKey("workspace.id"))
    labels: Mapped[dict[str, Any]]  # index (as text) -> name
    learns: Mapped[str] = mapped_column(STATE, default="mask")  # configs.kinds.LabelKind, as its bundle answers
    lineage: Mapped[str] = mapped_column(
        ID
    )  # patients' sides belong to a lineage: this experiment and what starts from it
    strategy: Mapped[str] = mapped_column(METHOD, default="entropy")  # orders at random while nothing is scored
    served: Mapped[int] = mapped_column(default=0)  # images given to annotators: every fifth is for evaluation
    realtime: Mapped[bool] = mapped_column(default=False)
    published_version: Mapped[str | None] = mapped_column(ForeignKey("model_version.id", use_alter=True))
    published_seq: Mapped[int] = mapped_column(default=0)
    shown: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what a dialect echoes
    created_by: Mapped[str] = mapped_column(ID, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    modified_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
    deleted_at: Mapped[float | None]


class ExperimentDataset(Base):
    """Which data set an experiment uses for what."""

    __tablename__ = "experiment_dataset"
    __table_args__ = (Index("ix_experiment_dataset_dataset", "dataset_id", "use"),)

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"), primary_key=True)
    use: Mapped[str] = mapped_column(STATE, primary_key=True)  # train | eval | inference | calibration
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), primary_key=True)


class ModelVersion(Base):
    """Immutable weights with their lineage. Version 0 is the bundle's own start (no blob)."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("experiment_id", "number"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"))
    number: Mapped[int]
    bundle_id: Mapped[str] = mapped_column(ForeignKey("bundle.id"))
    weights: Mapped[str | None] = mapped_column(HASH)  # safetensors blob; NULL = the bundle's own weights
    snapshot: Mapped[str | None] = mapped_column(HASH)
    results: Mapped[str | None] = mapped_column(HASH)  # per-case results blob
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("model_version.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id", use_alter=True), unique=True)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_by: Mapped[str] = mapped_column(ID, default="")
    created_at: Mapped[float] = mapped_column(default=now())


class Publication(Base):
    """One change of what is served; `seq` only rises, a rollback is a publication of an older version."""

    __tablename__ = "publication"
    __table_args__ = (UniqueConstraint("experiment_id", "seq"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"))
    seq: Mapped[int]
    version_id: Mapped[str] = mapped_column(ForeignKey("model_version.id"))
    previous_id: Mapped[str | None] = mapped_column(ForeignKey("model_version.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), unique=True)
    by: Mapped[str] = mapped_column(NAME)
    reason: Mapped[str] = mapped_column(Text)
    verdict: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[float] = mapped_column(default=now())


class Candidate(Base):
    """The rank of an unlabelled image for an experiment's scoring strategy; higher comes first."""

    __tablename__ = "candidate"
    __table_args__ = (Index("ix_candidate_rank", "experiment_id", "dataset_id", "method", "score", "image_id"),)

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True, index=True)
    method: Mapped[str] = mapped_column(METHOD, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"))
    score: Mapped[float]
    by: Mapped[str] = mapped_column(STATE, default="")  # how it was come by: configs.wire.host.ScoredBy
    version_id: Mapped[str] = mapped_column(ForeignKey("model_version.id"))
    at: Mapped[float] = mapped_column(default=now())


class Features(Base):
    """What a scoring method told of an image that it orders beside others; those of labelled images are kept, too."""

    __tablename__ = "features"
    __table_args__ = (Index("ix_features_of", "experiment_id", "dataset_id", "method"),)

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True, index=True)
    method: Mapped[str] = mapped_column(METHOD, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"))
    version_id: Mapped[str] = mapped_column(ForeignKey("model_version.id"))
    vector: Mapped[bytes]  # float16, little endian
    ordered: Mapped[bool] = mapped_column(default=False)  # among all of its version


class CaseScore(Base):
    """How one model version did on one labelled image, known by all that decides it: nobody measures it again."""

    __tablename__ = "case_score"

    key: Mapped[str] = mapped_column(HASH, primary_key=True)  # of image, label, weights, bundle, label names, metric
    score: Mapped[dict[str, Any]]  # tasks.publishing.gate.CaseScore
    at: Mapped[float] = mapped_column(default=now())
