"""MLflow's records, written again."""

from configs.errors import InvalidRequestError
from infra.adapters.catalog import audit
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.delivery.rebuild import tell_all_again
from tasks.reconcile.loop import wake


def rebuild(parts: Parts, caller: Caller) -> int:
    """Have all runs, versions and aliases of the caller's organisation written again; return of how many jobs.

    What MLflow has already is not doubled. It is written behind, as ever.

    Raises:
        ForbiddenError: If the caller may not.
        InvalidRequestError: If this installation has no MLflow.
    """
    allow(caller, Right.RUN_JOBS)
    if not parts.settings.tracking_url:
        raise InvalidRequestError("This installation has no MLflow to write to: set TEACHBACK_MLFLOW_TRACKING_URI")
    with parts.catalog.write() as session:
        count = tell_all_again(session, caller.org)
        audit.record(session, caller.org, caller.subject, "tracking.rebuild", caller.org, jobs=count)
    wake()
    return count
