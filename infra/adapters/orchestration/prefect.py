"""Prefect, over its HTTP API at the URL handed in; the process's own Prefect profile plays no part.

Its own client package costs 60 MB and a second to import, in every process that may ask for a run; the half dozen calls
needed here are Prefect's documented HTTP API.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import requests
from pydantic import BaseModel, SecretStr, TypeAdapter

from configs.errors import NotFoundError, OrchestratorError
from infra.adapters.orchestration.base import FlowRun, RunState

TIMEOUT_S = 30.0  # a busy Prefect on SQLite was seen to stall for 16 s
_PAGE = 200  # Prefect's own limit of rows per answer
# SQLite is busy, or a proxy has lost the server for a moment; Prefect's own clients ask again, too.
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE})
_AGAIN_AFTER_S = (0.2, 0.5, 1.0, 2.0, 4.0)


class _Known(BaseModel):
    id: str


class _State(BaseModel):
    type: RunState
    timestamp: datetime


class _Run(_Known):
    state: _State | None = None


_RUNS: Final = TypeAdapter(list[_Run])


def refused(path: str, status: int) -> OrchestratorError:
    """Return what is raised for an answer of Prefect that is no success."""
    hint = " Is the auth string right?" if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} else ""
    return OrchestratorError(f"Prefect refused {path}: HTTP {status}.{hint}")


def silent(error: Exception) -> OrchestratorError:
    """Return what is raised where no answer came."""
    return OrchestratorError(f"Prefect did not answer: {type(error).__name__}.")


class PrefectOrchestrator:
    """An `Orchestrator` on one Prefect server.

    Args:
        url: Its API's URL, `http://127.0.0.1:4200/api`.
        auth: `user:password`, when the server asks for it.
    """

    def __init__(self, url: str, auth: SecretStr | None) -> None:
        self._url = url
        user, _, word = auth.get_secret_value().partition(":") if auth else ("", "", "")
        self._login = (user, word) if auth else None

    def start(
        self, deployment: str, parameters: Mapping[str, Any], *, key: str, tags: Collection[str] = (), name: str = ""
    ) -> str:
        """Queue a run and return its id at once; the same *key* always gives the same run."""
        with self._connected() as prefect:
            found = prefect.ask("GET", f"/deployments/name/{deployment}")
            if found is None:
                raise NotFoundError("deployment", deployment)
            path = f"/deployments/{_Known.model_validate_json(found).id}/create_flow_run"
            # Asked again after an answer that was lost, Prefect gives the same run for the same key.
            wanted = {"parameters": dict(parameters), "idempotency_key": key, "tags": list(tags), "name": name or None}
            made = prefect.ask("POST", path, wanted)
        if made is None:
            raise NotFoundError("deployment", deployment)  # deleted in between
        return _Known.model_validate_json(made).id

    def runs(self, ids: Collection[str]) -> dict[str, FlowRun]:
        """Return the runs with these ids; those that are gone are left out."""
        wanted = sorted(set(ids))
        found: dict[str, FlowRun] = {}
        with self._connected() as prefect:
            for first in range(0, len(wanted), _PAGE):
                page = {"flow_runs": {"id": {"any_": wanted[first : first + _PAGE]}}, "limit": _PAGE}
                runs = _RUNS.validate_json(prefect.ask("POST", "/flow_runs/filter", page) or b"[]")
                found |= {run.id: _read(run) for run in runs}
        return found

    def state(self, flow_run_id: str) -> RunState | None:
        """Return how one run is going; None when there is no such run."""
        run = self.runs([flow_run_id]).get(flow_run_id)
        return run.state if run else None

    def cancel(self, flow_run_id: str) -> None:
        """Ask a run to end; one that has ended, or is gone, is left as it is."""
        self._set_state(flow_run_id, RunState.CANCELLING, force=False)

    def end(self, flow_run_id: str, reason: str) -> None:
        """Force a run that nobody works on any more to Crashed, or to Cancelled when that was asked for."""
        state = self.state(flow_run_id)
        if state and not state.terminal:
            final = RunState.CANCELLED if state == RunState.CANCELLING else RunState.CRASHED
            # Forced past Prefect's own rules, which wait for a process that is gone.
            self._set_state(flow_run_id, final, reason, force=True)

    def table(
        self, key: str, rows: Sequence[Mapping[str, Any]], description: str, flow_run_id: str | None = None
    ) -> None:
        """Show *rows* in the UI under *key*."""
        data = json.dumps([dict(row) for row in rows])
        artifact = {"key": key, "type": "table", "description": description, "data": data, "flow_run_id": flow_run_id}
        with self._connected() as prefect:
            prefect.ask("POST", "/artifacts/", artifact)

    def healthy(self) -> bool:
        """Say whether Prefect answers."""
        try:
            with self._connected() as prefect:
                return prefect.ask("GET", "/health") is not None
        except OrchestratorError:
            return False

    def _set_state(self, flow_run_id: str, state: RunState, message: str | None = None, *, force: bool) -> None:
        wanted = {"type": state, "name": state.capitalize(), "message": message}
        with self._connected() as prefect:
            prefect.ask("POST", f"/flow_runs/{flow_run_id}/set_state", {"state": wanted, "force": force})

    @contextmanager
    def _connected(self) -> Iterator["_Prefect"]:
        """Give a connection for one use: one that is kept may be closed by the server as the next call begins."""
        if not self._url:
            raise OrchestratorError(
                "No Prefect server is named. Set TEACHBACK_PREFECT_API_URL, or start `teachback up`."
            )
        with requests.Session() as session:
            session.auth = self._login
            yield _Prefect(self._url, session)


class _Prefect:
    """Calls of one connection."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url
        self._session = session

    def ask(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> bytes | None:
        """Return the answer; None where what the path names is not there.

        Raises:
            OrchestratorError: If Prefect cannot be reached, or refuses.
        """
        for again_after_s in (*_AGAIN_AFTER_S, None):
            try:
                answer = self._session.request(method, f"{self._url}{path}", json=content, timeout=TIMEOUT_S)
            except requests.RequestException as error:
                raise silent(error) from error
            if answer.status_code not in _BUSY or again_after_s is None:
                break
            time.sleep(again_after_s)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not answer.ok:
            raise refused(path, answer.status_code)
        return answer.content


def _read(run: _Run) -> FlowRun:
    if run.state is None:
        return FlowRun(run.id, RunState.SCHEDULED, 0.0)
    since = (datetime.now(UTC) - run.state.timestamp).total_seconds()
    # Of a clock that was set back by an hour since then, "an hour ago" is told: a run must not look new for that hour.
    return FlowRun(run.id, run.state.type, abs(since))
