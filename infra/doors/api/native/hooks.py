"""Webhooks of the caller's organisation."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from infra.adapters.catalog.tables import Hook
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.operating import hooks
from infra.services.operating.hooks import NewHook

router = APIRouter(tags=["webhooks"])


class SubscribeRequest(BaseModel):
    """Who is to be told. `events`: names or patterns such as `round.*`."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    events: list[Annotated[str, StringConstraints(max_length=64)]]


class ListenRequest(BaseModel):
    """Which data set a PACS is to tell about, by id or name."""

    model_config = ConfigDict(extra="forbid")

    dataset: str


class HookResponse(BaseModel):
    """A webhook. `path`: where senders of an `in` webhook post to. `error`: why the last message was not taken."""

    id: str
    direction: Literal["in", "out"]
    url: str | None
    path: str | None
    events: list[str]
    dataset_id: str | None
    created_at: float
    worked_at: float | None
    error: str


class NewHookResponse(HookResponse):
    """A webhook with its signing secret, which is shown now and never again."""

    secret: str


@router.get("/hooks")
def list_hooks(parts: PartsDep, caller: CallerDep) -> list[HookResponse]:
    """List the webhooks, both ways."""
    return [HookResponse.model_validate(_shown(row)) for row in hooks.listed(parts, caller)]


@router.post("/hooks", status_code=HTTPStatus.CREATED)
def create_hook(body: SubscribeRequest | ListenRequest, parts: PartsDep, caller: CallerDep) -> NewHookResponse:
    """Have an address told what happens here, or let a PACS tell of a data set's new series."""
    if isinstance(body, SubscribeRequest):
        return _new(hooks.subscribe(parts, caller, body.url, body.events))
    return _new(hooks.listen(parts, caller, body.dataset))


@router.post("/hooks/{hook_id}:rotate")
def rotate_hook(hook_id: str, parts: PartsDep, caller: CallerDep) -> NewHookResponse:
    """Give a webhook a new secret; the one before is good for another 24 hours."""
    return _new(hooks.rotate(parts, caller, hook_id))


@router.delete("/hooks/{hook_id}", status_code=HTTPStatus.NO_CONTENT)
def revoke_hook(hook_id: str, parts: PartsDep, caller: CallerDep) -> None:
    """End a webhook at once."""
    hooks.revoke(parts, caller, hook_id)


def _new(made: NewHook) -> NewHookResponse:
    return NewHookResponse.model_validate({**_shown(made.row), "secret": made.secret})


def _shown(row: Hook) -> dict[str, object]:
    return {
        "id": row.id,
        "direction": row.direction,
        "url": row.url or None,
        "path": f"/hooks/{row.id}" if row.direction == "in" else None,
        "events": row.events,
        "dataset_id": row.dataset_id,
        "created_at": row.created_at,
        "worked_at": row.worked_at,
        "error": row.error,
    }
