"""`/experiments` of this dialect."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from infra.adapters.catalog.tables import Experiment
from infra.doors.api.deps import CallerDep, PageDep, PartsDep
from infra.doors.api.monai_cloud.experiment_schemas import (
    MEDICAL,
    ExperimentList,
    ExperimentRequest,
    ExperimentResponse,
    Tags,
)
from infra.doors.api.monai_cloud.job_schemas import Message
from infra.doors.api.monai_cloud.words import ExperimentId, ShapeDep
from infra.services.learning import experiments
from infra.services.learning.experiment_requests import ShownExperiment
from infra.services.learning.experiments import ExperimentView
from infra.services.listing import Cut, Page, keeps

router = APIRouter(tags=["experiments"])


async def _filter(
    network_arch: str | None = None,
    type: str | None = None,  # noqa: A002 - the dialect's name
    tag: str | None = None,
) -> Callable[[Experiment], bool]:
    """Return the filters of a list; a leading `!` negates each."""

    def keep(row: Experiment) -> bool:
        """Filter by what is shown of an experiment; all of them are medical."""
        tags = ShownExperiment.model_validate(row.shown).tags
        return keeps(network_arch, row.arch) and keeps(tag, *tags) and keeps(type, MEDICAL)

    return keep


FilterDep = Annotated[Callable[[Experiment], bool], Depends(_filter)]


@router.post("/experiments", status_code=HTTPStatus.CREATED)
def create_experiment(body: ExperimentRequest, parts: PartsDep, caller: CallerDep) -> ExperimentResponse:
    """Make an experiment; a realtime one is answered once its server is ready."""
    return ExperimentResponse.of(experiments.create(parts, caller, body.to_new()))


@router.get("/experiments")
def list_experiments(
    parts: PartsDep,
    caller: CallerDep,
    page: PageDep,
    shape: ShapeDep,
    keep: FilterDep,
    read_only: Annotated[str | None, Query(description="`true` lists base experiments only.")] = None,
    user_only: Annotated[str | None, Query(description="`true` leaves base experiments out.")] = None,
) -> list[ExperimentResponse] | ExperimentList:
    """List the organisation's experiments and the base experiments."""
    own, bases = read_only != "true", not _is_yes(user_only)
    found = experiments.listed(parts, caller, page, keep=keep, own=own, bases=bases)
    return _shaped(found, shape)


@router.get("/experiments:base")
def list_base_experiments(
    parts: PartsDep, caller: CallerDep, page: PageDep, shape: ShapeDep, keep: FilterDep
) -> list[ExperimentResponse] | ExperimentList:
    """List the base experiments."""
    found = experiments.listed(parts, caller, page, keep=keep, own=False)
    return _shaped(found, shape)


@router.get("/experiments:get_tags")
def list_tags(parts: PartsDep, caller: CallerDep) -> Tags:
    """List the tags that experiments carry."""
    found = experiments.listed(parts, caller, Page())
    return Tags(
        tags=sorted({tag for view in found.rows for tag in ShownExperiment.model_validate(view.row.shown).tags})
    )


@router.get("/experiments/{experiment_id}")
def get_experiment(experiment_id: ExperimentId, parts: PartsDep, caller: CallerDep) -> ExperimentResponse:
    """Return one experiment."""
    return ExperimentResponse.of(experiments.get(parts, caller, experiment_id))


@router.patch("/experiments/{experiment_id}")
@router.put("/experiments/{experiment_id}")
def change_experiment(
    experiment_id: ExperimentId, body: ExperimentRequest, parts: PartsDep, caller: CallerDep
) -> ExperimentResponse:
    """Change the fields that the body names, and no other."""
    return ExperimentResponse.of(experiments.change(parts, caller, experiment_id, body.to_change()))


@router.delete("/experiments/{experiment_id}")
def delete_experiment(experiment_id: ExperimentId, parts: PartsDep, caller: CallerDep) -> ExperimentResponse:
    """Hide an experiment whose jobs have ended, and stop its servers."""
    return ExperimentResponse.of(experiments.remove(parts, caller, experiment_id))


@router.post("/experiments/{experiment_id}:cancel_all_jobs")
def cancel_all_jobs(experiment_id: ExperimentId, parts: PartsDep, caller: CallerDep) -> Message:
    """Cancel every job of the experiment that has not ended."""
    experiments.cancel_all_jobs(parts, caller, experiment_id)
    return Message(message="All jobs are cancelled")


def _is_yes(said: str | None) -> bool:
    return said is not None and said.lower() in {"true", "yes", "y", "t", "1", "on"}


def _shaped(found: Cut[ExperimentView], shape: ShapeDep) -> list[ExperimentResponse] | ExperimentList:
    rows, info = [ExperimentResponse.of(view) for view in found.rows], shape.tell_total(found.total)
    return ExperimentList(experiments=rows, pagination_info=info) if shape.wrapped else rows
