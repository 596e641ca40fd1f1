"""What we ask of an orchestrator: start a flow by its deployment's name, ask how it goes, cancel it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class RunState(StrEnum):
    """How a flow run is going, in Prefect's words."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether the run has ended, one way or another."""
        return self in {RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.CANCELLED}


@dataclass(frozen=True)
class FlowRun:
    """One flow run: its state, and the seconds it has been in it."""

    id: str
    state: RunState
    since_s: float


class Orchestrator(Protocol):
    """Starts flows by deployment name; it never imports one. Every method may raise OrchestratorError."""

    def start(
        self, deployment: str, parameters: Mapping[str, Any], *, key: str, tags: Collection[str] = (), name: str = ""
    ) -> str:
        """Queue a run and return its id at once; the same *key* always gives the same run.

        Args:
            deployment: `<flow>/<deployment>`.
            parameters: The flow's parameters: catalog ids and numbers, never a secret.
            key: Makes the call safe to repeat.
            tags: Shown in the UI.
            name: Shown in the UI; left out, the orchestrator makes one up.

        Raises:
            NotFoundError: If no such deployment is registered.
        """
        ...

    def runs(self, ids: Collection[str]) -> dict[str, FlowRun]:
        """Return the runs with these ids, in one question; those that are gone are left out."""
        ...

    def state(self, flow_run_id: str) -> RunState | None:
        """Return how one run is going; None when there is no such run."""
        ...

    def cancel(self, flow_run_id: str) -> None:
        """Ask a run to end; one that has ended, or is gone, is left as it is."""
        ...

    def end(self, flow_run_id: str, reason: str) -> None:
        """Write down that a run is over although nobody is left to say so: its process is dead."""
        ...

    def table(
        self, key: str, rows: Sequence[Mapping[str, Any]], description: str, flow_run_id: str | None = None
    ) -> None:
        """Show *rows* in the UI under *key* (lower-case letters, digits and dashes)."""
        ...

    def healthy(self) -> bool:
        """Say whether the orchestrator answers; never raises."""
        ...
