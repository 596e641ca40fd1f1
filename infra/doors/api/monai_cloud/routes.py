"""All routes of this dialect, once for organisations and once for users."""

from http import HTTPStatus

from fastapi import APIRouter, Depends

from infra.doors.api.deps import as_user, in_org
from infra.doors.api.errors import CLOUD_PREFIX, answers
from infra.doors.api.monai_cloud import (
    dataset_jobs,
    datasets,
    experiments,
    jobs,
    login,
    results,
    specs,
    start,
    workspaces,
)

_REFUSALS = answers(
    True,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def routers() -> list[APIRouter]:
    """Return the routers to include, prefixes and scopes in place."""
    by_org = APIRouter(prefix=f"{CLOUD_PREFIX}/orgs/{{org}}", dependencies=[Depends(in_org)], responses=_REFUSALS)
    by_user = APIRouter(
        prefix=f"{CLOUD_PREFIX}/users/{{user_id}}", dependencies=[Depends(as_user)], responses=_REFUSALS
    )
    for scope in (by_org, by_user):
        # A verb comes before the job that it is said of: `{job_id}` would take both.
        for topic in (workspaces, datasets, dataset_jobs, experiments, results, jobs, specs):
            scope.include_router(topic.router)
    by_org.add_api_route("", start.organisation, include_in_schema=False)
    return [login.router, start.router, by_org, by_user]
