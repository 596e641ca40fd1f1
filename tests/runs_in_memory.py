"""An orchestrator in memory, for tests of what we do about runs rather than of Prefect."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

from configs.errors import NotFoundError, OrchestratorError
from infra.adapters.orchestration.base import FlowRun, RunState


class RunsInMemory:
    """Keeps the runs it is asked to start; the test says how each is going. `up = False` is an outage."""

    def __init__(self) -> None:
        self.up = True
        self.deployments = {
            f"{flow}/default"
            for flow in ("continual-learning-round", "realtime-inference", "batch-inference", "refresh-scores")
        } | {"refresh-scores/asked"}
        self.found: dict[str, FlowRun] = {}
        self.parameters: dict[str, dict[str, Any]] = {}
        self._by_key: dict[str, str] = {}

    def start(
        self,
        deployment: str,
        parameters: Mapping[str, Any],
        *,
        key: str,
        tags: Collection[str] = (),  # noqa: ARG002 - the Protocol's
        name: str = "",  # noqa: ARG002 - the Protocol's
    ) -> str:
        """Keep a run as scheduled; the same key gives the same run."""
        self._answer()
        if deployment not in self.deployments:
            raise NotFoundError("deployment", deployment)
        run = self._by_key.setdefault(key, str(uuid4()))
        self.found.setdefault(run, FlowRun(run, RunState.SCHEDULED, 0.0))
        self.parameters[run] = dict(parameters)
        return run

    def runs(self, ids: Collection[str]) -> dict[str, FlowRun]:
        """Return those that are known."""
        self._answer()
        return {each: self.found[each] for each in ids if each in self.found}

    def state(self, flow_run_id: str) -> RunState | None:
        """Return one run's state."""
        run = self.runs([flow_run_id]).get(flow_run_id)
        return run.state if run else None

    def cancel(self, flow_run_id: str) -> None:
        """Mark a living run as cancelling."""
        self._answer()
        run = self.found.get(flow_run_id)
        if run is not None and not run.state.terminal:
            self.goes(flow_run_id, RunState.CANCELLING)

    def end(self, flow_run_id: str, reason: str) -> None:  # noqa: ARG002 - the Protocol's
        """Mark a run as crashed, or as cancelled when that was asked for."""
        self._answer()
        asked = self.found[flow_run_id].state == RunState.CANCELLING
        self.goes(flow_run_id, RunState.CANCELLED if asked else RunState.CRASHED)

    def table(
        self, key: str, rows: Sequence[Mapping[str, Any]], description: str, flow_run_id: str | None = None
    ) -> None:
        """Show nothing."""

    def healthy(self) -> bool:
        """Say whether there is an outage."""
        return self.up

    def goes(self, run: str, state: RunState, since_s: float = 0.0) -> None:
        """Let a run be in *state* since *since_s* seconds."""
        self.found[run] = FlowRun(run, state, since_s)

    def _answer(self) -> None:
        if not self.up:
            raise OrchestratorError("Prefect did not answer: ConnectError.")
