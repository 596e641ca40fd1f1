"""Registers what `infra/deploy/prefect.yaml` says: the file is the truth, `prefect deploy --all` would do the same.

The command takes some five seconds per deployment; this takes one for all, and it runs at every start.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyOptions
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from configs.errors import OrchestratorError
from infra.adapters.orchestration.prefect import connect

PREFECT_FILE = Path("infra") / "deploy" / "prefect.yaml"
ROUNDS = "rounds"
REALTIME = "realtime"


class _WorkPool(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    job_variables: dict[str, Any] = {}


class _Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    interval: int = Field(gt=0, description="Seconds.")
    slug: str


class _Deployment(BaseModel):
    """The parts of a deployment that our file uses; another one is refused, not overlooked."""

    model_config = ConfigDict(extra="forbid")

    name: str
    entrypoint: str
    description: str = ""
    tags: list[str] = []
    parameters: dict[str, Any] = {}
    schedules: list[_Schedule] = []
    concurrency_limit: ConcurrencyLimitConfig | None = None
    work_pool: _WorkPool


class _PrefectFile(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str
    prefect_version: str = Field("", alias="prefect-version")
    pull: list[dict[str, Any]]
    deployments: list[_Deployment]


def ensure_pools(url: str, auth: SecretStr | None, *, devices: int = 1) -> None:
    """Make the work pools, or bring their limits up to date.

    Args:
        url: Prefect's API.
        auth: `user:password`, when the server asks for it.
        devices: Rounds that may run at a time; realtime slots are limited by their quota, not here.

    Raises:
        OrchestratorError: If Prefect cannot be reached, or refuses.
    """
    with connect(url, auth) as client:
        _ensure_pool(client, ROUNDS, devices)
        _ensure_pool(client, REALTIME, None)


def deploy(url: str, auth: SecretStr | None, root: Path) -> list[str]:
    """Register the deployments of the checkout at *root*, and return their full names; safe to repeat.

    Raises:
        OrchestratorError: If Prefect cannot be reached or refuses, or the file says what is not understood here.
    """
    path = root / PREFECT_FILE
    try:
        content = _PrefectFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise OrchestratorError(f"{PREFECT_FILE} cannot be read: {error}") from error
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # flows import their tasks from the checkout
    with connect(url, auth) as client:
        return [_register(client, root, content, each) for each in content.deployments]


def _ensure_pool(client: SyncPrefectClient, name: str, limit: int | None) -> None:
    template = ProcessWorker.get_default_base_job_template()
    try:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=template, concurrency_limit=limit)
        )
    except ObjectAlreadyExists:
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))


def _register(client: SyncPrefectClient, root: Path, content: _PrefectFile, wanted: _Deployment) -> str:
    flow = _load(root, wanted.entrypoint)
    client.create_deployment(
        client.create_flow_from_name(flow.name),
        wanted.name,
        description=wanted.description or flow.description,
        tags=wanted.tags,
        parameters=wanted.parameters,
        entrypoint=wanted.entrypoint,
        path=".",
        pull_steps=content.pull,
        work_pool_name=wanted.work_pool.name,
        job_variables=wanted.work_pool.job_variables,
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        schedules=_schedules(client, f"{flow.name}/{wanted.name}", wanted),
        concurrency_limit=wanted.concurrency_limit.limit if wanted.concurrency_limit else None,
        concurrency_options=_options(wanted.concurrency_limit),
    )
    return f"{flow.name}/{wanted.name}"


def _load(root: Path, entrypoint: str) -> Flow[Any, Any]:
    try:
        flow: Flow[Any, Any] = load_flow_from_entrypoint(str(root / entrypoint), use_placeholder_flow=False)
    except ScriptError as error:
        raise OrchestratorError(f"The flow {entrypoint} cannot be loaded: {error.__cause__ or error}") from error
    return flow


def _schedules(client: SyncPrefectClient, name: str, wanted: _Deployment) -> list[DeploymentScheduleCreate]:
    """Return a new deployment's schedules, or those that a known one has by now: people pause, change and add them.

    They are named every time, since Prefect removes all schedules of a deployment that is registered again.
    """
    try:
        known = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return [
            DeploymentScheduleCreate(
                schedule=IntervalSchedule(interval=timedelta(seconds=each.interval)), slug=each.slug
            )
            for each in wanted.schedules
        ]
    return [
        DeploymentScheduleCreate(
            schedule=each.schedule,
            active=each.active,
            max_scheduled_runs=each.max_scheduled_runs,
            parameters=each.parameters,
            slug=each.slug,
        )
        for each in known.schedules
    ]


def _options(limit: ConcurrencyLimitConfig | None) -> ConcurrencyOptions | None:
    return ConcurrencyOptions(collision_strategy=limit.collision_strategy) if limit else None
