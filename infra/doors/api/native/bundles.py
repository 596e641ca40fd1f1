"""Registered bundles."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, StringConstraints

from infra.adapters.catalog.tables import Bundle
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.learning import bundles
from infra.services.learning.archs import reason_of

router = APIRouter(tags=["bundles"])
Name = Annotated[str, Path(max_length=512, description="Its name, its id, or the beginning of that.")]


class BundleResponse(BaseModel):
    """A bundle; the id is the hash of its content. Tier A trains by Lightning, B by itself, C only infers.

    `reason` says why it is of this tier, `source` where it came from, `check` all that examining it found.
    """

    id: str
    name: str
    version: str
    description: str
    tier: str
    reason: str
    labels: dict[str, str]
    source: str
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
            reason=reason_of(row),
            labels=row.labels,
            source=row.source or "",
            check=row.check,
        )


class SourceRequest(BaseModel):
    """Where the bundle is: an absolute path on the server's machine, or the address of a zip or tar."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class RegisteredResponse(BaseModel):
    """A registered bundle, and the base experiment under which it is listed."""

    base_experiment: str
    bundle: BundleResponse

    @classmethod
    def of(cls, added: bundles.Added) -> "RegisteredResponse":
        """Show one bundle that was registered."""
        return cls(base_experiment=added.base_experiment, bundle=BundleResponse.of(added.bundle))


@router.get("/bundles")
def list_bundles(parts: PartsDep, caller: CallerDep) -> list[BundleResponse]:
    """List the registered bundles."""
    return [BundleResponse.of(row) for row in bundles.listed(parts, caller)]


@router.get("/bundles/{name}")
def get_bundle(name: Name, parts: PartsDep, caller: CallerDep) -> BundleResponse:
    """Show one bundle; of several versions the newest."""
    return BundleResponse.of(bundles.get(parts, caller, name))


@router.post("/bundles", status_code=HTTPStatus.CREATED)
def register_bundle(body: SourceRequest, parts: PartsDep, caller: CallerDep) -> RegisteredResponse:
    """Fetch a bundle, examine it in a bundle host, and list it."""
    return RegisteredResponse.of(bundles.add(parts, caller, body.source))


@router.post("/bundles:check")
def check_bundle(body: SourceRequest, parts: PartsDep, caller: CallerDep) -> BundleResponse:
    """Examine a bundle as registering would, and keep nothing of it."""
    return BundleResponse.of(bundles.check(parts, caller, body.source))


@router.delete("/bundles/{name}")
def remove_bundle(name: Name, parts: PartsDep, caller: CallerDep) -> BundleResponse:
    """Take a bundle that no experiment uses off the lists."""
    return BundleResponse.of(bundles.remove(parts, caller, name))
