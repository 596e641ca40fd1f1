"""Who may open Prefect's and MLflow's pages: they show the runs of every organisation."""

from sqlalchemy import exists, select

from configs.errors import ForbiddenError
from infra.adapters.catalog.tables import Experiment
from infra.services.callers import Caller, Right, Role, allow
from infra.wiring import Parts

HOME_ORG = "local"


def may_open(parts: Parts, caller: Caller) -> None:
    """Let the caller open them: an engineer while nobody else's runs are there to see, else this machine's operator.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.RUN_JOBS)
    if caller.org == HOME_ORG and caller.role == Role.ADMIN:
        return
    others = exists().where(Experiment.org.is_not(None), Experiment.org != caller.org)
    with parts.catalog.read() as session:
        shared = session.scalar(select(others))
    if shared:
        raise ForbiddenError(
            "These pages show the runs of all organisations, and there are several here: "
            f"they open for an admin key of the organisation {HOME_ORG!r} only."
        )
