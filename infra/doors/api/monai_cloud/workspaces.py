"""`/workspaces` of this dialect."""

from http import HTTPStatus

from fastapi import APIRouter

from infra.doors.api.deps import CallerDep, PageDep, PartsDep
from infra.doors.api.monai_cloud.dataset_schemas import DatasetList, DatasetResponse
from infra.doors.api.monai_cloud.words import ShapeDep, WorkspaceId
from infra.doors.api.monai_cloud.workspace_schemas import (
    WorkspaceList,
    WorkspacePatch,
    WorkspaceRequest,
    WorkspaceResponse,
)
from infra.services.data import workspaces

router = APIRouter(prefix="/workspaces", tags=["workspaces"])


@router.post("", status_code=HTTPStatus.CREATED)
def create_workspace(body: WorkspaceRequest, parts: PartsDep, caller: CallerDep) -> WorkspaceResponse:
    """Make a workspace, once an object was written there."""
    return WorkspaceResponse.of(workspaces.create(parts, caller, body.name, body.to_place()))


@router.get("")
def list_workspaces(
    parts: PartsDep, caller: CallerDep, page: PageDep, shape: ShapeDep
) -> list[WorkspaceResponse] | WorkspaceList:
    """List the organisation's workspaces."""
    found = workspaces.listed(parts, caller, page)
    rows, info = [WorkspaceResponse.of(row) for row in found.rows], shape.tell_total(found.total)
    return WorkspaceList(workspaces=rows, pagination_info=info) if shape.wrapped else rows


# Before the plain id, which would take the whole of it.
@router.get("/{workspace_id}:get_datasets")
def list_workspace_datasets(
    workspace_id: WorkspaceId, parts: PartsDep, caller: CallerDep, shape: ShapeDep
) -> list[DatasetResponse] | DatasetList:
    """List the data sets that name a workspace."""
    rows = [DatasetResponse.of(row) for row in workspaces.datasets_of(parts, caller, workspace_id)]
    shape.tell_total(len(rows))
    return DatasetList(datasets=rows) if shape.wrapped else rows


@router.get("/{workspace_id}")
def get_workspace(workspace_id: WorkspaceId, parts: PartsDep, caller: CallerDep) -> WorkspaceResponse:
    """Return one workspace."""
    return WorkspaceResponse.of(workspaces.get(parts, caller, workspace_id))


@router.patch("/{workspace_id}")
@router.put("/{workspace_id}")
def change_workspace(
    workspace_id: WorkspaceId, body: WorkspacePatch, parts: PartsDep, caller: CallerDep
) -> WorkspaceResponse:
    """Change the fields that the body names, and no other; credentials and place are replaced together."""
    known = WorkspaceResponse.of(workspaces.get(parts, caller, workspace_id)).cloud_type
    changed = workspaces.change(parts, caller, workspace_id, name=body.name, asked=body.to_place(known))
    return WorkspaceResponse.of(changed)


@router.delete("/{workspace_id}")
def delete_workspace(workspace_id: WorkspaceId, parts: PartsDep, caller: CallerDep) -> WorkspaceResponse:
    """Hide a workspace that nothing uses."""
    return WorkspaceResponse.of(workspaces.remove(parts, caller, workspace_id))
