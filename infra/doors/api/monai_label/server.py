"""What this dialect tells of the server itself: `/logs`, `/logs/gpu`, and where OHIF is."""

from html import escape
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from configs.errors import NotFoundError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.operating import installation

router = APIRouter(tags=["MONAI Label: server"])
_LOG = "api.log"


class NoViewerError(NotFoundError):
    """OHIF is not among what is installed here."""

    def __str__(self) -> str:
        return (
            "OHIF does not come with this server: build OHIF 3 with its MONAI Label mode, serve it under this server's"
            " own host and port (by a reverse proxy before both) or name its origin in TEACHBACK_CORS_ORIGINS, and have"
            " it call /label/{data set}/t/{annotator's key}/, which needs no header"
        )


@router.get("/logs", response_class=PlainTextResponse)
@router.get("/logs/", include_in_schema=False)
def logs(
    parts: PartsDep,
    caller: CallerDep,
    lines: Annotated[int, Query(ge=0, le=100_000, description="0 = as many as are kept at hand.")] = 300,
    html: bool = True,
    text: bool = False,
    refresh: Annotated[int, Query(ge=0, le=3600, description="Seconds after which a page loads anew.")] = 0,
) -> Response:
    """Return the end of the API's log: a page, or plain text."""
    said = installation.log(parts, caller, _LOG)
    told = "\n".join(said.splitlines()[-lines:]) + "\n"
    if text or not html:
        return PlainTextResponse(told)
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    page = f"<!doctype html><meta charset=utf-8><title>Teachback: log</title>{again}<pre>{escape(told)}</pre>"
    return HTMLResponse(page, headers={"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"})


@router.get("/logs/gpu", response_class=PlainTextResponse)
def gpu_log(parts: PartsDep, caller: CallerDep) -> str:
    """Return what `nvidia-smi` says."""
    return installation.gpus(parts, caller)


@router.get("/ohif/{path:path}", include_in_schema=False)
def viewer(path: str) -> None:
    """Say how to get the viewer."""
    raise NoViewerError("viewer", path)
