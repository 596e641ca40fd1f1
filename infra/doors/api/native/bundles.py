"""Registered bundles."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from infra.adapters.catalog.tables import Bundle
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services import bases, models

router = APIRouter(tags=["bundles"])


class BundleResponse(BaseModel):
    """A bundle; the id is the hash of its content. Tier A trains by Lightning, B by itself, C only infers."""

    id: str
    name: str
    version: str
    description: str
    tier: str
    labels: dict[str, str]
    check: dict[str, Any]

    @classmethod
    def of(cls, row: Bundle) -> "BundleResponse":
        """Show one bundle."""
        return cls(
            id=row.id,
            name=row.name,
            version=row.version,
            description=row.description,
            tier=row.tier,
            labels=row.labels,
            check=row.check,
        )


class RegisterRequest(BaseModel):
    """Where on the server's machine the bundle is: a folder."""

    model_config = ConfigDict(extra="forbid")

    folder: Path


class RegisteredResponse(BaseModel):
    """The base experiment under which a bundle is listed."""

    base_experiment: str


@router.get("/bundles")
def list_bundles(parts: PartsDep, caller: CallerDep) -> list[BundleResponse]:
    """List the registered bundles."""
    return [BundleResponse.of(row) for row in models.bundles(parts, caller)]


@router.post("/bundles", status_code=HTTPStatus.CREATED)
def register_bundle(body: RegisterRequest, parts: PartsDep, caller: CallerDep) -> RegisteredResponse:
    """Register a bundle of the server's machine."""
    return RegisteredResponse(base_experiment=bases.register_bundle(parts, caller, body.folder))
