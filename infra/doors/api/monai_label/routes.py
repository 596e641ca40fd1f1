"""The routes of this dialect: at the server's root for the default data set, and for every other by its name."""

from http import HTTPStatus

from fastapi import APIRouter, Depends

from infra.doors.api.errors import answers
from infra.doors.api.monai_label import (
    auth,
    batch,
    datastore,
    datastore_list,
    images,
    infer,
    info,
    label_info,
    models,
    proxy,
    samples,
    scoring,
    server,
    sessions,
    train,
    wsi,
)
from infra.doors.api.monai_label.scope import BY_ADDRESS, BY_NAME, named

_REFUSALS = answers(
    False,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_TOPICS = (
    info,
    samples,
    infer,
    wsi,
    batch,
    sessions,
    datastore_list,
    images,
    label_info,
    datastore,
    train,
    scoring,
    models,
    proxy,
)


def routers() -> list[APIRouter]:
    """Return the routers to include.

    Those with a key in their path are not described: they are the others, and a key is to be nowhere it need not be.
    """
    at_root = APIRouter(responses=_REFUSALS)
    by_name = APIRouter(prefix=BY_NAME, dependencies=[Depends(named)], responses=_REFUSALS)
    by_address = APIRouter(prefix=BY_ADDRESS, include_in_schema=False)
    for scope in (by_name, at_root):
        scope.include_router(auth.router)
    for scope in (by_address, by_name, at_root):
        for topic in _TOPICS:
            scope.include_router(topic.router)
        scope.include_router(images.by_hidden_route)
    at_root.include_router(server.router)
    return [by_address, by_name, at_root]
