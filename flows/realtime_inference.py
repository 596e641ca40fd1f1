"""Keeps one realtime slot serving. Cancelling the run switches the slot off; killing it does not."""

from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas import FlowRun

from tasks.serving.tasks import cancel, keep_serving


def switch_off(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect calls it by these names
    """Want the slot of a cancelled run no longer."""
    cancel(str(flow_run.parameters["slot_id"]))


@flow(name="realtime-inference", on_cancellation=[switch_off], persist_result=False)
def realtime_inference(slot_id: str) -> None:
    """Start the slot's process, or adopt it, and start it again while it is wanted.

    Args:
        slot_id: The slot's id in the catalog.
    """
    keep_serving(slot_id)
