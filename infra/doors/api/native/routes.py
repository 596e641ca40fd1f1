"""Our own routes."""

from http import HTTPStatus

from fastapi import APIRouter

from infra.doors.api.errors import answers
from infra.doors.api.native import (
    apps,
    bundles,
    carriage,
    datasets,
    hooks,
    images,
    keys,
    labels,
    models,
    rounds,
    scores,
    status,
    tracking,
)

PREFIX = "/api/teachback/v1"


def router() -> APIRouter:
    """Return the router to include."""
    refusals = answers(
        False,
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
    )
    scope = APIRouter(prefix=PREFIX, responses=refusals)
    for topic in (
        status,
        rounds,
        models,
        bundles,
        apps,
        keys,
        carriage,
        datasets,
        images,
        hooks,
        scores,
        labels,
        tracking,
    ):
        scope.include_router(topic.router)
    return scope
