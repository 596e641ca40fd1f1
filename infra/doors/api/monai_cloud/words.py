"""Words that all of this dialect's routes share: ids, times, the shape of lists."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Response
from pydantic import AfterValidator, BaseModel, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from infra.doors.api.cloud_errors import BAD_ID
from infra.doors.api.deps import PageDep, PartsDep
from infra.services.listing import Page

WRAPPED_MEDIA_TYPE = "application/vnd.teachback.wrapped+json"
TOTAL_HEADER = "X-Pagination-Total"
_ALL = frozenset({"*", "all"})
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
Name = Annotated[str, StringConstraints(max_length=500)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Address = Annotated[str, StringConstraints(max_length=2048)]
Credential = Annotated[SecretStr, StringConstraints(max_length=8192)]  # a service account's JSON has 2400


def uuid_of(kind: str, *, or_all: bool = False) -> Callable[[str], str]:
    """Return a check that an id is a UUID of any version, or `*` or `all` where that is allowed."""

    def check(given: str) -> str:
        """Return the id as it is stored, however it was spelt."""
        if or_all and given in _ALL:
            return given
        try:
            return str(UUID(given))
        except ValueError:
            raise PydanticCustomError(BAD_ID, f"{kind} ID passed is not a valid UUID") from None

    return check


DatasetId = Annotated[str, Path(), AfterValidator(uuid_of("Dataset"))]
ExperimentId = Annotated[str, Path(), AfterValidator(uuid_of("Experiment"))]
AnyExperimentId = Annotated[str, Path(), AfterValidator(uuid_of("Experiment", or_all=True))]
WorkspaceId = Annotated[str, Path(), AfterValidator(uuid_of("Workspace"))]
WorkspaceRef = Annotated[str, AfterValidator(uuid_of("Workspace"))]
JobId = Annotated[str, Path(), AfterValidator(uuid_of("Job"))]
JobRef = Annotated[str, AfterValidator(uuid_of("Job"))]


def named_experiment(given: str) -> str | None:
    """Return an experiment's id; None where all were asked for."""
    return None if given in _ALL else given


def iso(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class PaginationInfo(BaseModel):
    """Where a page of a wrapped list stands; only given when `skip` and `size` both were."""

    total_records: int
    total_pages: int
    page_size: int
    page_index: int


class ListShape:
    """Says whether a list is answered bare or wrapped, and how many rows there are on all pages."""

    def __init__(self, page: Page, response: Response, *, wrapped: bool) -> None:
        self._page = page
        self._response = response
        self.wrapped = wrapped

    def tell_total(self, total: int) -> PaginationInfo | None:
        """Put the total into the reply's header; return what a wrapped list says of its page."""
        self._response.headers[TOTAL_HEADER] = str(total)
        skip, size = self._page.skip, self._page.size
        if size is None or skip is None:
            return None
        pages = -(-total // size)
        return PaginationInfo(total_records=total, total_pages=pages, page_size=size, page_index=skip // size)


async def list_shape(
    parts: PartsDep,
    page: PageDep,
    response: Response,
    accept: Annotated[str, Header(description=f"`{WRAPPED_MEDIA_TYPE}` asks for a wrapped list.")] = "",
) -> ListShape:
    """Return the shape that the operator's setting or the request asks for."""
    wrapped = parts.settings.list_shape == "wrapped" or WRAPPED_MEDIA_TYPE in accept
    return ListShape(page, response, wrapped=wrapped)


ShapeDep = Annotated[ListShape, Depends(list_shape)]
