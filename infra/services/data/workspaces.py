"""Workspaces: places in object stores where results are also written; made, listed, changed, deleted."""

from collections.abc import Callable, Sequence
from functools import partial

from pydantic import BaseModel, ConfigDict, SecretStr
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, StoreError
from configs.specs.workspace import CloudType, WorkspaceSpec
from infra.adapters.catalog import audit, outbox
from infra.adapters.catalog import workspaces as catalog
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Dataset, VaultValue, Workspace
from infra.adapters.catalog.tables.base import new_id, now
from infra.services.callers import Caller, Right, Role, allow
from infra.services.data.access import credentials_of, sealed
from infra.services.listing import Cut, Page, cut
from infra.wiring import Parts
from tasks.results.place import opened_place, try_place


class NewPlace(BaseModel):
    """Where a workspace is, and what opens it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud_type: CloudType
    bucket: str
    region: str = ""
    endpoint: str = ""
    username: str | None = None
    password: SecretStr | None = None


class ResultsTo(BaseModel):
    """Where a data set's or experiment's results are also to be written: a workspace, or a place that becomes one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: str | None = None
    place: NewPlace | None = None


def create(parts: Parts, caller: Caller, name: str, asked: NewPlace) -> Workspace:
    """Make a workspace, once an object was written there.

    Raises:
        ForbiddenError: If the caller may not.
        InvalidRequestError: If there is no such place, or it refuses the credentials.
    """
    allow(caller, Right.MANAGE_DATASETS)
    chosen = parts.catalog.unit(choice(parts, caller, ResultsTo(place=asked), name))
    return get(parts, caller, str(chosen))


def choice(parts: Parts, caller: Caller, asked: ResultsTo, name: str) -> Callable[[Session], str | None]:
    """Try the place that a request names; return what, in its unit, gives the workspace's id.

    Raises:
        InvalidRequestError: If there is no such place, or it refuses the credentials; of what is returned, if the
            organisation has no such workspace.
    """
    tried = None if asked.place is None else _tried(parts, caller, asked.place)

    def chosen(session: Session) -> str | None:
        """Return the named workspace, held, or make the one that is asked for."""
        if tried is not None:
            return _made(session, caller, name, *tried).id
        if asked.workspace is None:
            return None
        try:
            return catalog.get(session, caller.org, asked.workspace, for_change=True).id
        except NotFoundError as error:
            raise InvalidRequestError(f"Provided workspace cannot be added: {error}") from None

    return chosen


def get(parts: Parts, caller: Caller, workspace_id: str) -> Workspace:
    """Return one workspace.

    Raises:
        NotFoundError: If the organisation has none of this id.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.get(session, caller.org, workspace_id)


def listed(parts: Parts, caller: Caller, page: Page) -> Cut[Workspace]:
    """Return a page of the organisation's workspaces."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return cut(catalog.listed(session, caller.org), page)


def datasets_of(parts: Parts, caller: Caller, workspace_id: str) -> Sequence[Dataset]:
    """Return the data sets that name a workspace.

    Raises:
        NotFoundError: If the organisation has none of this id.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.datasets_of(session, catalog.get(session, caller.org, workspace_id).id)


def change(parts: Parts, caller: Caller, workspace_id: str, *, name: str | None, asked: NewPlace | None) -> Workspace:
    """Change what is named, and nothing else. Another place, or other credentials, are tried before they are kept.

    Raises:
        NotFoundError: If the organisation has none of this id.
        InvalidRequestError: If there is no such place, or it refuses the credentials.
    """
    allow(caller, Right.MANAGE_DATASETS)
    get(parts, caller, workspace_id)
    tried = None if asked is None else _tried(parts, caller, asked)

    def changed(session: Session) -> None:
        """Write it, the old secret gone; what waited for it is tried at once."""
        row = catalog.get(session, caller.org, workspace_id, for_change=True)
        row.name = row.name if name is None else name
        if tried is not None:
            spec, secret = tried
            row.spec = spec.model_dump(mode="json")
            _seal(session, row, secret)
            outbox.hasten(session, [OutboxKind.RESULTS])
        audit.record(session, caller.org, caller.subject, "workspace.change", workspace_id, place=tried is not None)

    parts.catalog.unit(changed)
    return get(parts, caller, workspace_id)


def remove(parts: Parts, caller: Caller, workspace_id: str) -> Workspace:
    """Hide a workspace that nothing uses; what was written there stays there.

    Raises:
        NotFoundError: If the organisation has none of this id.
        ConflictError: If a data set, an experiment or a result on its way needs it.
    """
    allow(caller, Right.MANAGE_DATASETS)
    row = get(parts, caller, workspace_id)
    parts.catalog.unit(partial(_hide, caller=caller, workspace_id=workspace_id))
    return row


def _made(session: Session, caller: Caller, name: str, spec: WorkspaceSpec, secret: VaultValue | None) -> Workspace:
    row = Workspace(id=new_id(), org=caller.org, name=name, spec=spec.model_dump(mode="json"))
    row.created_by = caller.subject
    _seal(session, row, secret)
    session.add(row)
    session.flush()
    audit.record(session, caller.org, caller.subject, "workspace.create", row.id, cloud=spec.cloud_type)
    return row


def _seal(session: Session, row: Workspace, secret: VaultValue | None) -> None:
    """Give a workspace its secret, or none; the old one goes once nothing names it."""
    if secret is not None:
        session.add(secret)
        session.flush()
    old, row.secret_id = row.secret_id, secret.id if secret else None
    session.flush()
    session.execute(delete(VaultValue).where(VaultValue.id == old))


def _hide(session: Session, *, caller: Caller, workspace_id: str) -> None:
    """Hide the row, held, so that nothing takes it up meanwhile; its secret goes for good."""
    row = catalog.get(session, caller.org, workspace_id, for_change=True)
    users = catalog.users_of(session, workspace_id)
    if users:
        raise ConflictError(f"Workspace in use: by {', '.join(users)}; delete these first, or name another there")
    row.deleted_at = session.scalar(select(now()))
    _seal(session, row, None)
    audit.record(session, caller.org, caller.subject, "workspace.delete", workspace_id)


def _tried(parts: Parts, caller: Caller, asked: NewPlace) -> tuple[WorkspaceSpec, VaultValue | None]:
    """Return a place that was written to, and its sealed credentials."""
    said = asked.model_dump(exclude={"username", "password"})
    spec = WorkspaceSpec.model_validate({**said, "by_admin": caller.role is Role.ADMIN})
    credentials = credentials_of(asked.username, asked.password)
    try:
        try_place(opened_place(parts, spec, credentials))
    except StoreError as error:
        raise InvalidRequestError(f"Cannot use the workspace: {error}") from None
    return spec, sealed(parts, caller.org, credentials)
