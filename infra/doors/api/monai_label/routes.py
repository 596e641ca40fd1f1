"""The routes of this dialect."""

from http import HTTPStatus

from fastapi import APIRouter

from infra.doors.api.errors import answers
from infra.doors.api.monai_label import datastore, info, train


def router() -> APIRouter:
    """Return the router to include; `{dataset}` is a data set's id or name."""
    refusals = answers(
        False,
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.BAD_GATEWAY,
    )
    scope = APIRouter(prefix="/label/{dataset}", responses=refusals)
    scope.include_router(info.router)
    scope.include_router(datastore.router)
    scope.include_router(train.router)
    return scope
