"""API keys of the caller's organisation."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from infra.doors.api.deps import CallerDep, PartsDep
from infra.services import people
from infra.services.callers import Role

router = APIRouter(tags=["keys"])


class KeyRequest(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role


class KeyResponse(BaseModel):
    """A key, without its secret. `used_at` is right to the hour."""

    id: str
    name: str
    role: str
    created_at: float
    used_at: float | None
    revoked: bool


class NewKeyResponse(BaseModel):
    """A key with its secret, which is shown now and never again."""

    id: str
    secret: str
    role: str


@router.get("/keys")
def list_keys(parts: PartsDep, caller: CallerDep) -> list[KeyResponse]:
    """List the organisation's keys."""
    return [
        KeyResponse(
            id=key.id,
            name=key.name,
            role=key.role,
            created_at=key.created_at,
            used_at=key.used_at,
            revoked=key.revoked_at is not None,
        )
        for key in people.list_keys(parts, caller)
    ]


@router.post("/keys", status_code=HTTPStatus.CREATED)
def create_key(body: KeyRequest, parts: PartsDep, caller: CallerDep) -> NewKeyResponse:
    """Make a key of the organisation."""
    made = people.create_key(parts, caller, name=body.name, role=body.role)
    return NewKeyResponse(id=made.id, secret=made.secret, role=made.role)


@router.delete("/keys/{key_id}", status_code=HTTPStatus.NO_CONTENT)
def revoke_key(key_id: str, parts: PartsDep, caller: CallerDep) -> None:
    """End a key and its tokens at once."""
    people.revoke_key(parts, caller, key_id)
