"""Who may open Prefect's and MLflow's pages: they show the runs of every organisation. And a job, with ways there."""

from dataclasses import dataclass

from sqlalchemy import exists, select

from configs.errors import ForbiddenError, NotFoundError
from configs.states import JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Experiment, Job
from infra.services.callers import Caller, Right, Role, allow
from infra.wiring import Parts
from tasks.rounds.records.report import Row, round_table

HOME_ORG = "local"


def may_open(parts: Parts, caller: Caller) -> None:
    """Let the caller open them: an engineer while nobody else's runs are there to see, else this machine's operator.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.RUN_JOBS)
    if _is_operator(caller):
        return
    others = exists().where(Experiment.org.is_not(None), Experiment.org != caller.org)
    with parts.catalog.read() as session:
        shared = session.scalar(select(others))
    if shared:
        raise ForbiddenError(
            "These pages show the runs of all organisations, and there are several here: "
            f"they open for an admin key of the organisation {HOME_ORG!r} only."
        )


@dataclass(frozen=True)
class JobPage:
    """What a person is shown of a job: the row, a sentence with a table of a finished round, and its flow run's id."""

    job: Job
    experiment: str
    sentence: str
    rows: list[Row]
    flow_run: str | None


def job_page(parts: Parts, caller: Caller, job_id: str) -> JobPage:
    """Return a job of the caller's organisation; the operator's pages show those of all.

    Raises:
        NotFoundError: If there is none.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        job = session.get(Job, job_id)
        if job is None or job.deleted_at is not None or not (job.org == caller.org or _is_operator(caller)):
            raise NotFoundError("job", job_id)
        attempt = jobs.attempt(session, job.id, job.current_attempt)
        experiment = session.get_one(Experiment, job.experiment_id).name
    rounds = job.action == "train" and job.status == JobStatus.DONE
    sentence, rows = round_table(parts, job.id) if rounds else (job.message, [])
    return JobPage(job, experiment, sentence, rows, attempt.flow_run_id if attempt else None)


def _is_operator(caller: Caller) -> bool:
    return caller.org == HOME_ORG and caller.role == Role.ADMIN
