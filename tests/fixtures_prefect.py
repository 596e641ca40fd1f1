"""A real Prefect server in a temporary home, once per test session, and process workers for it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from infra.adapters.orchestration.deployments import ensure_pools
from infra.adapters.orchestration.prefect import PrefectOrchestrator
from infra.adapters.orchestration.processes import (
    api_url,
    server_command,
    server_environment,
    worker_command,
    worker_environment,
)
from infra.adapters.security.tls import authorities
from tests.processes import end, free_port, wait_until

_AUTH = "teachback:only-for-this-test-session"


class _Patient(httpx.HTTPTransport):
    """Asks again, as Prefect's own clients do: on SQLite its server answers 503 while another has the database."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answers: list[httpx.Response] = []

        def taken() -> bool:
            answers.append(super(_Patient, self).handle_request(request))
            return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        wait_until(taken, "Prefect to take it")
        return answers[-1]


@dataclass(frozen=True)
class PrefectServer:
    """Where the server is, and what it asks clients for."""

    url: str
    auth: SecretStr
    home: Path

    def client(self) -> PrefectOrchestrator:
        """Return our client of it."""
        return PrefectOrchestrator(self.url, self.auth)

    def http(self) -> httpx.Client:
        """Return a client of its API that asks again where it is put off."""
        user, word = self.auth.get_secret_value().split(":", 1)
        return httpx.Client(base_url=self.url, auth=(user, word), timeout=60, transport=_Patient(verify=authorities()))

    @contextmanager
    def worker(self, pool: str, root: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a worker of *pool* for the checkout at *root*; *settings* are added to its environment."""
        secret = self.auth.get_secret_value()
        environment = worker_environment(os.environ, home=self.home, url=self.url, auth=secret, root=root)
        log = self.home / f"worker-{pool}.log"
        process = _start(worker_command([pool]), {**environment, **settings}, root, log)
        try:
            yield process
        finally:
            end(process, signal.SIGKILL)  # told to end, it would wait for its runs
            self._forget_runs()

    def _forget_runs(self) -> None:
        """Delete what has not ended: the next test's worker has one place, and would take these up first."""
        open_states = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]
        with self.http() as client:
            asked = {"flow_runs": {"state": {"type": {"any_": open_states}}}}
            for run in client.post("/flow_runs/filter", json=asked).raise_for_status().json():
                client.delete(f"/flow_runs/{run['id']}").raise_for_status()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A running Prefect server with our work pools and nothing else."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    environment = server_environment(os.environ, home=home, port=port, auth=_AUTH)
    process = _start(server_command(port), environment, home, home / "server.log")
    server = PrefectServer(api_url(port), SecretStr(_AUTH), home)
    try:
        wait_until(lambda: _answers(f"{server.url}/health"), f"Prefect to answer (log: {home / 'server.log'})")
        ensure_pools(server.url, server.auth)
        yield server
    finally:
        end(process, signal.SIGKILL)


def _start(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            command, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, verify=authorities()).is_success
    except httpx.HTTPError:
        return False
