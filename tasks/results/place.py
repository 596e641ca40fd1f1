"""From a workspace's row to its place in an object store."""

from typing import NamedTuple
from uuid import uuid4

from configs.errors import InvalidRequestError
from configs.specs.workspace import CloudType, WorkspaceSpec
from infra.adapters.catalog import secrets
from infra.adapters.catalog.tables import VaultValue, Workspace
from infra.adapters.images.base import Credentials
from infra.adapters.images.objects.faults import NotThereError
from infra.adapters.images.objects.files import ObjectFiles
from infra.adapters.images.objects.place import Endpoints, Location, location_of
from infra.wiring import Parts

RESULTS = "results"
_SCHEMES: dict[CloudType, str] = {"aws": "s3", "azure": "abfs", "gcp": "gs"}


class ResultPlace(NamedTuple):
    """A folder of an object store, and what opens it. `root` is `bucket/folder…`."""

    files: ObjectFiles
    root: str

    def folder_of(self, job_id: str) -> str:
        """Return where a job's files go."""
        return f"{self.root}/{RESULTS}/{job_id}"


def place_of(parts: Parts, workspace_id: str) -> ResultPlace | None:
    """Open a workspace with its credentials; nothing is called yet. None if it is gone.

    Raises:
        InvalidRequestError: If its address may not be called.
        StoreError: If its name cannot be resolved.
    """
    with parts.catalog.read() as session:
        workspace = session.get(Workspace, workspace_id)
        if workspace is None or workspace.deleted_at is not None:
            return None
        value = session.get(VaultValue, workspace.secret_id) if workspace.secret_id else None
        opened = secrets.opened(parts.vault, value) if value else None
        spec = WorkspaceSpec.model_validate(workspace.spec)
    return opened_place(parts, spec, Credentials.model_validate_json(opened) if opened else None)


def opened_place(parts: Parts, spec: WorkspaceSpec, credentials: Credentials | None) -> ResultPlace:
    """Open a place; raises as `place_of`, and InvalidRequestError for credentials of another kind."""
    location = _location(spec, parts.objects.endpoints)
    return ResultPlace(parts.objects.open(location, credentials, trusted=spec.by_admin), location.path)


def try_place(place: ResultPlace) -> None:
    """List, write and remove an empty object: all that writing results asks of a store.

    Raises:
        InvalidRequestError: If there is no such bucket or container.
        StoreError: If the store refuses the credentials, may not be written, or cannot be reached.
    """
    path = place.folder_of(f"teachback-{uuid4().hex}")
    try:
        next(place.files.pages(path), None)
        place.files.create(path, b"")
    except NotThereError:
        raise InvalidRequestError("There is no bucket or container of this name: check cloud_bucket_name") from None
    place.files.remove(path)


def _location(spec: WorkspaceSpec, endpoints: Endpoints) -> Location:
    path = spec.bucket.rstrip("/")
    if {"..", "."} & set(path.split("/")):
        raise InvalidRequestError("cloud_bucket_name leads out of its bucket: name a bucket, and a folder in it")
    if spec.cloud_type == "self_hosted":
        endpoint = spec.endpoint.rstrip("/") or endpoints.s3
        if not endpoint:
            raise InvalidRequestError("A self_hosted workspace needs endpoint_url, the address of its S3 interface")
        return Location("s3", endpoint, path, region=spec.region)
    found = location_of(f"{_SCHEMES[spec.cloud_type]}://{path}", endpoints)
    if found is None:  # no scheme above is unknown to it
        raise InvalidRequestError("cloud_bucket_name cannot be read: name a bucket or container")
    return found._replace(region=spec.region)
