"""Prefect, reached over its HTTP API at the URL handed in; the process's own Prefect profile plays no part."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun as PrefectFlowRun
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from pydantic import SecretStr

from configs.errors import NotFoundError, OrchestratorError
from infra.adapters.orchestration.base import FlowRun, RunState
from infra.adapters.security.tls import authorities

_TIMEOUT_S = 30.0  # a busy Prefect on SQLite was seen to stall for 16 s
_PAGE = 200  # Prefect's own limit of rows per answer


@contextmanager
def connect(url: str, auth: SecretStr | None) -> Iterator[SyncPrefectClient]:
    """Give a client of the Prefect server at *url* (`http://127.0.0.1:4200/api`), for one use.

    Raises:
        OrchestratorError: If Prefect cannot be reached, or refuses.
    """
    if not url:
        raise OrchestratorError("No Prefect server is named. Set TEACHBACK_PREFECT_API_URL, or start `teachback up`.")
    settings: dict[str, Any] = {"timeout": _TIMEOUT_S}
    if url.startswith("http://"):
        settings["verify"] = authorities()  # not asked; else every client reads them, 25 ms of a processor
    try:
        with SyncPrefectClient(
            url, auth_string=auth.get_secret_value() if auth else None, httpx_settings=settings
        ) as client:
            yield client
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        hint = " Is the auth string right?" if status in {401, 403} else ""
        raise OrchestratorError(f"Prefect refused {error.request.url.path}: HTTP {status}.{hint}") from error
    except (httpx.HTTPError, PrefectException) as error:
        raise OrchestratorError(f"Prefect did not answer: {type(error).__name__}.") from error


class PrefectOrchestrator:
    """An `Orchestrator` on one Prefect server.

    Args:
        url: Its API's URL.
        auth: `user:password`, when the server asks for it.
    """

    def __init__(self, url: str, auth: SecretStr | None) -> None:
        self._url = url
        self._auth = auth

    def start(
        self, deployment: str, parameters: Mapping[str, Any], *, key: str, tags: Collection[str] = (), name: str = ""
    ) -> str:
        """Queue a run and return its id at once; the same *key* always gives the same run."""
        with connect(self._url, self._auth) as client:
            try:
                found = client.read_deployment_by_name(deployment)
            except ObjectNotFound:
                raise NotFoundError("deployment", deployment) from None
            # Asked again after an answer that was lost, Prefect gives the same run for the same key.
            run = client.create_flow_run_from_deployment(
                found.id, parameters=dict(parameters), idempotency_key=key, tags=tags, name=name or None
            )
        return str(run.id)

    def runs(self, ids: Collection[str]) -> dict[str, FlowRun]:
        """Return the runs with these ids; those that are gone are left out."""
        wanted = sorted(set(ids))
        found: dict[str, FlowRun] = {}
        with connect(self._url, self._auth) as client:
            for first in range(0, len(wanted), _PAGE):
                page = FlowRunFilterId(any_=[UUID(each) for each in wanted[first : first + _PAGE]])
                # Those that are gone are simply not among them: nothing is asked for one by one.
                for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(id=page), limit=_PAGE):
                    found[str(run.id)] = _read(run)
        return found

    def state(self, flow_run_id: str) -> RunState | None:
        """Return how one run is going; None when there is no such run."""
        run = self.runs([flow_run_id]).get(flow_run_id)
        return run.state if run else None

    def cancel(self, flow_run_id: str) -> None:
        """Ask a run to end; one that has ended, or is gone, is left as it is."""
        with connect(self._url, self._auth) as client:
            _set_state(client, flow_run_id, State(type=StateType.CANCELLING, name="Cancelling"), force=False)

    def end(self, flow_run_id: str, reason: str) -> None:
        """Force a run that nobody works on any more to Crashed, or to Cancelled when that was asked for."""
        with connect(self._url, self._auth) as client:
            try:
                run = _read(client.read_flow_run(UUID(flow_run_id)))
            except ObjectNotFound:
                return
            if not run.state.terminal:
                asked = run.state == RunState.CANCELLING
                final = StateType.CANCELLED if asked else StateType.CRASHED
                # Forced past Prefect's own rules, which wait for a process that is gone.
                _set_state(client, flow_run_id, State(type=final, message=reason), force=True)

    def table(
        self, key: str, rows: Sequence[Mapping[str, Any]], description: str, flow_run_id: str | None = None
    ) -> None:
        """Show *rows* in the UI under *key*."""
        data = json.dumps([dict(row) for row in rows])
        artifact = {"key": key, "type": "table", "description": description, "data": data, "flow_run_id": flow_run_id}
        with connect(self._url, self._auth) as client:
            client.request("POST", "/artifacts/", json=artifact)

    def healthy(self) -> bool:
        """Say whether Prefect answers."""
        try:
            with connect(self._url, self._auth) as client:
                return client.api_healthcheck() is None
        except OrchestratorError:
            return False


def _set_state(client: SyncPrefectClient, flow_run_id: str, state: State[Any], *, force: bool) -> None:
    try:
        client.set_flow_run_state(UUID(flow_run_id), state, force=force)
    except ObjectNotFound:
        return


def _read(run: PrefectFlowRun) -> FlowRun:
    if run.state is None:
        return FlowRun(str(run.id), RunState.SCHEDULED, 0.0)
    since = (datetime.now(UTC) - run.state.timestamp).total_seconds()
    # Of a clock that was set back by an hour since then, "an hour ago" is told: a run must not look new for that hour.
    return FlowRun(str(run.id), RunState(run.state.type.value), abs(since))
