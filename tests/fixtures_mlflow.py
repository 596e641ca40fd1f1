"""A real MLflow server in a temporary home, once per test session."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.adapters.security.tls import authorities
from infra.adapters.tracking.processes import server_command, server_environment, server_url
from tests.processes import end, free_port, wait_until


class MLflow:
    """A server that can be killed and comes back at the same address, on what its home holds.

    Args:
        home: Its folder.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._port = home, free_port()
        self.uri = server_url(self._port)
        (home / "mlflow").mkdir()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        self._start()
        try:
            yield
        finally:
            end(self._process)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kill it and its workers; start it again when the block ends."""
        end(self._process, signal.SIGKILL)
        try:
            yield
        finally:
            self._start()

    def _start(self) -> None:
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                server_command(self._port, home=self._home),
                env=server_environment(os.environ),
                cwd=self._home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, f"MLflow to answer (log: {self._home / 'server.log'})")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/health", timeout=5, verify=authorities()).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    """The session's MLflow server, running."""
    server = MLflow(tmp_path_factory.mktemp("mlflow"))
    with server.running():
        yield server


@pytest.fixture(scope="session")
def mlflow_uri(mlflow: MLflow) -> str:
    """The address of a running MLflow server."""
    return mlflow.uri
