"""`/session` of this dialect: an image that a client sends, to be asked about for a while."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel

from infra.adapters.catalog.tables import Upload
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.datastore import as_file
from infra.doors.api.monai_label.sent_files import SentFiles, body_of
from infra.services.data import uploads
from infra.services.data.uploads import LONGEST_S, Sent

router = APIRouter(prefix="/session", tags=["MONAI Label: sessions"])
_FIELD = "files"


class SessionInfo(BaseModel):
    """One session; times in seconds. `path` and `image` are what it is called: paths of the server are the server's."""

    name: str
    path: str
    image: str
    meta: dict[str, str] = {}
    create_ts: int
    last_access_ts: int
    expiry: int

    @classmethod
    def of(cls, row: Upload) -> "SessionInfo":
        """Show one session."""
        return cls(
            name=row.id,
            path=row.name,
            image=row.name,
            create_ts=int(row.created_at),
            last_access_ts=int(row.used_at),
            expiry=int(row.expiry),
        )


class Session(BaseModel):
    """A session that was made."""

    session_id: str
    session_info: SessionInfo


@router.put("", openapi_extra=body_of(_FIELD))
@router.put("/", include_in_schema=False)
def create_session(
    parts: PartsDep,
    caller: CallerDep,
    sent: Annotated[list[Sent], Depends(SentFiles(_FIELD))],
    expiry: Annotated[int, Query(ge=0, le=int(LONGEST_S), description="Seconds after its last use.")] = 0,
    uncompress: bool = False,  # noqa: ARG001 - the dialect's: what a zip holds is told by what is in it
) -> Session:
    """Keep an image: one file, a zip of a DICOM series, or the files of one."""
    row = uploads.create(parts, caller, sent, float(expiry))
    return Session(session_id=row.id, session_info=SessionInfo.of(row))


@router.get("/{session_id}", response_model=SessionInfo)
def get_session(
    session_id: str, parts: PartsDep, caller: CallerDep, update_ts: bool = False, image: bool = False
) -> SessionInfo | FileResponse:
    """Return a session, or its image; with `update_ts` its time begins anew."""
    row = uploads.find(parts, caller, session_id, use=update_ts)
    return as_file(uploads.file_of(parts, row)) if image else SessionInfo.of(row)


@router.delete("/{session_id}")
def delete_session(session_id: str, parts: PartsDep, caller: CallerDep) -> SessionInfo:
    """End a session."""
    return SessionInfo.of(uploads.remove(parts, caller, session_id))
