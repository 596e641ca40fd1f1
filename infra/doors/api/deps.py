"""What endpoints are handed: the parts, the caller, a page of a list."""

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from configs.errors import NotFoundError
from infra.adapters.catalog.experiments import Order
from infra.doors.api.roles import Shown, identified
from infra.services.callers import Caller
from infra.services.listing import Page
from infra.services.repeats import MAX_KEY_CHARS, Repeat
from infra.wiring import Parts


def parts_of(request: Request) -> Parts:
    """Return the adapters that the application was made with."""
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(parts_of)]


def caller_of(request: Request, shown: Shown = None) -> Caller:
    """Return who calls.

    Raises:
        UnauthorizedError: If no valid token or key was shown.
    """
    return identified(request, shown)


CallerDep = Annotated[Caller, Depends(caller_of)]


def in_org(caller: CallerDep, org: Annotated[str, Path(max_length=512)]) -> None:
    """Refuse a path that names another organisation than the caller's, as if there were none.

    Raises:
        NotFoundError: If it does.
    """
    if org != caller.org:
        raise NotFoundError("organisation", org)


def as_user(caller: CallerDep, user_id: Annotated[str, Path(max_length=64)]) -> None:
    """Refuse a path that names another user than the caller, as if there were none.

    Raises:
        NotFoundError: If it does.
    """
    if user_id != caller.user_id:
        raise NotFoundError("user", user_id)


def page_of(
    skip: Annotated[int, Query(ge=0)] = 0,
    size: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    sort: Order = "date-descending",
    name: Annotated[str | None, Query(description="Exact; a leading ! negates.")] = None,
) -> Page:
    """Return which part of a list is wanted."""
    return Page(skip=skip, size=size, sort=sort, name=name)


PageDep = Annotated[Page, Depends(page_of)]


async def repeat_of(
    request: Request,
    caller: CallerDep,
    idempotency_key: Annotated[str | None, Header(max_length=MAX_KEY_CHARS)] = None,
) -> Repeat | None:
    """Return the caller's `Idempotency-Key`, bound to this request and to them."""
    if idempotency_key is None:
        return None
    return Repeat.of_body(idempotency_key, request.method, request.url.path, await request.body()).by(caller)


RepeatDep = Annotated[Repeat | None, Depends(repeat_of)]
