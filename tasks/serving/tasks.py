"""Prefect's edge of serving."""

from prefect import task
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from configs.errors import OrchestratorError
from configs.settings import Settings
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts, open_parts
from tasks.serving.babysit import Babysitter, cancel_slot

CANCELLED = "cancelled in Prefect"
_ASKED_TO_END = (RunState.CANCELLING, RunState.CANCELLED)


@task(name="keep-serving", persist_result=False)
def keep_serving(slot_id: str) -> None:
    """Watch over the slot until it is stopped. Ended by a signal, it ends the slot only if a person cancelled it."""
    parts = open_parts(Settings())
    sitter = Babysitter(parts, slot_id)
    try:
        sitter.watch(flow_run.id)
    except TerminationSignal:
        if _was_cancelled(parts):
            sitter.give_up(CANCELLED)
        raise
    finally:
        parts.close()


def cancel(slot_id: str) -> None:
    """Want the slot no longer; for the hook, which runs in another process than the flow."""
    parts = open_parts(Settings())
    try:
        cancel_slot(parts, slot_id, CANCELLED)
    finally:
        parts.close()


def _was_cancelled(parts: Parts) -> bool:
    """Ask Prefect how this run is; without an answer it was not, for a worker's restart must not end a slot."""
    try:
        return parts.orchestrator.state(flow_run.id or "") in _ASKED_TO_END
    except OrchestratorError:
        return False
