"""Model versions: listed, published, rolled back."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StringConstraints

from infra.adapters.catalog.tables import ModelVersion, Publication
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.learning import models

router = APIRouter(tags=["models"])
Reason = Annotated[str, StringConstraints(max_length=1000)]


class VersionResponse(BaseModel):
    """One immutable version. `weights` is the hash of its file; null = the bundle's own.

    `decision`: published, kept_back, review (waits for a person) or declined; null = none was needed.
    """

    id: str
    number: int
    bundle: str
    weights: str | None
    snapshot: str | None
    parent_id: str | None
    job_id: str | None
    metrics: dict[str, Any]
    created_at: float
    published: bool
    decision: str | None

    @classmethod
    def of(cls, row: ModelVersion, published: str | None, decision: str | None = None) -> "VersionResponse":
        """Show one version."""
        return cls(
            id=row.id,
            number=row.number,
            bundle=row.bundle_id,
            weights=row.weights,
            snapshot=row.snapshot,
            parent_id=row.parent_id,
            job_id=row.job_id,
            metrics=row.metrics,
            created_at=row.created_at,
            published=row.id == published,
            decision=decision,
        )


class PublicationResponse(BaseModel):
    """One change of what is served."""

    seq: int
    version_id: str
    previous_id: str | None
    by: str
    reason: str
    at: float

    @classmethod
    def of(cls, row: Publication) -> "PublicationResponse":
        """Show one publication."""
        return cls(
            seq=row.seq,
            version_id=row.version_id,
            previous_id=row.previous_id,
            by=row.by,
            reason=row.reason,
            at=row.at,
        )


class ModelsResponse(BaseModel):
    """An experiment's versions and publications, the newest first; `mlflow_model` is its name in MLflow's registry."""

    experiment_id: str
    experiment: str
    mlflow_model: str
    published_version: str | None
    published_seq: int
    versions: list[VersionResponse]
    publications: list[PublicationResponse]


class RollbackRequest(BaseModel):
    """Back to what was published before. `compared_with`: the version that the caller saw as published."""

    model_config = ConfigDict(extra="forbid")

    experiment: str
    compared_with: str | None = None
    reason: Reason = ""


class DeclineRequest(BaseModel):
    """Keep a version from being served that waits for a person. Without `experiment`, the version's own."""

    model_config = ConfigDict(extra="forbid")

    version: str
    experiment: str = ""
    reason: Reason = ""


class PublishRequest(DeclineRequest):
    """Publish a version. `compared_with`: the version that the caller saw as published."""

    compared_with: str | None = None


@router.get("/models")
def list_models(
    parts: PartsDep, caller: CallerDep, experiment: Annotated[str, Query(description="Id or name.")]
) -> ModelsResponse:
    """List an experiment's versions and what was published when."""
    found = models.versions(parts, caller, experiment)
    row = found.experiment
    return ModelsResponse(
        experiment_id=row.id,
        experiment=row.name,
        mlflow_model=found.mlflow_model,
        published_version=row.published_version,
        published_seq=row.published_seq,
        versions=[
            VersionResponse.of(version, row.published_version, found.decisions.get(version.id))
            for version in found.versions
        ],
        publications=[PublicationResponse.of(publication) for publication in found.publications],
    )


@router.post("/models:publish")
def publish(body: PublishRequest, parts: PartsDep, caller: CallerDep) -> PublicationResponse:
    """Publish a version; 409 if another one than `compared_with` is published by now."""
    done = models.publish(
        parts,
        caller,
        body.version,
        experiment=body.experiment,
        compared_with=body.compared_with,
        reason=body.reason,
    )
    return PublicationResponse.of(done)


@router.post("/models:decline")
def decline(body: DeclineRequest, parts: PartsDep, caller: CallerDep) -> VersionResponse:
    """Keep a version from being served that waits for a person; 409 if it does not wait."""
    version = models.decline(parts, caller, body.version, experiment=body.experiment, reason=body.reason)
    return VersionResponse.of(version, None, "declined")


@router.post("/models:rollback")
def rollback(body: RollbackRequest, parts: PartsDep, caller: CallerDep) -> PublicationResponse:
    """Publish what was published before; 409 if another one than `compared_with` is published by now."""
    done = models.rollback(parts, caller, body.experiment, compared_with=body.compared_with, reason=body.reason)
    return PublicationResponse.of(done)
