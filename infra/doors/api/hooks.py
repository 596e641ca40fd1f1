"""`/hooks/{id}`: what other systems tell us, signed by the Standard Webhooks specification."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from infra.doors.api.deps import PartsDep
from infra.doors.api.errors import answers
from infra.services.operating import hooks
from tasks.images.arrived import Arrival

router = APIRouter(tags=["webhooks"], responses=answers(False, HTTPStatus.UNAUTHORIZED, HTTPStatus.BAD_GATEWAY))
_LATER = "respond-async"


@router.post("/hooks/{hook_id}", responses={HTTPStatus.ACCEPTED: {"model": Arrival}})
async def receive(
    hook_id: Annotated[str, Path(max_length=64)],
    request: Request,
    response: Response,
    parts: PartsDep,
    prefer: Annotated[str, Header(description=f"`{_LATER}` = answer at once, and look at the series then.")] = "",
) -> Arrival:
    """Take in a series that a PACS has complete: a label is notified, an image has the data set listed again.

    202 = nothing was done yet, for the reason given. An Orthanc that tells from its Lua script has to prefer
    `respond-async`: it answers nobody until it has its own answer.
    """
    body = await request.body()
    later = _LATER in prefer.lower()
    arrival = await run_in_threadpool(hooks.receive, parts, hook_id, request.headers, body, later=later)
    if arrival.done in {"nothing", "later"}:
        response.status_code = HTTPStatus.ACCEPTED
    return arrival
