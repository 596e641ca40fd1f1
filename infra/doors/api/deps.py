"""What endpoints are handed: the parts, the caller, a page of a list.

None of these waits for anything, so they are coroutines: a function would be sent to a thread and back, each of them,
at every request.
"""

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from configs.errors import NotFoundError, UnauthorizedError
from infra.adapters.catalog.experiments import Order
from infra.doors.api.roles import admit
from infra.services.callers import Caller
from infra.services.listing import Page
from infra.wiring import Parts


async def parts_of(request: Request) -> Parts:
    """Return the adapters that the application was made with."""
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(parts_of)]


async def caller_of(admitted: Annotated[Caller | None, Depends(admit)]) -> Caller:
    """Return who calls, as whoever let the request in found.

    Raises:
        UnauthorizedError: If the route is for anybody, who is not asked.
    """
    if admitted is None:
        raise UnauthorizedError("This is open to anybody, and asks nobody who they are")
    return admitted


CallerDep = Annotated[Caller, Depends(caller_of)]


async def in_org(caller: CallerDep, org: Annotated[str, Path(max_length=512)]) -> None:
    """Refuse a path that names another organisation than the caller's, as if there were none.

    Raises:
        NotFoundError: If it does.
    """
    if org != caller.org:
        raise NotFoundError("organisation", org)


async def as_user(caller: CallerDep, user_id: Annotated[str, Path(max_length=64)]) -> None:
    """Refuse a path that names another user than the caller, as if there were none.

    Raises:
        NotFoundError: If it does.
    """
    if user_id != caller.user_id:
        raise NotFoundError("user", user_id)


_MOST_ROWS = 2**31  # what both databases count to


async def page_of(
    skip: Annotated[int | None, Query(ge=0, le=_MOST_ROWS)] = None,
    size: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    sort: Order = "date-descending",
    name: Annotated[str | None, Query(description="Exact; a leading ! negates.")] = None,
) -> Page:
    """Return which part of a list is wanted."""
    return Page(skip=skip, size=size, sort=sort, name=name)


PageDep = Annotated[Page, Depends(page_of)]
