"""Real MLflow servers in temporary homes."""

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


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of the session's MLflow server."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_uri(mlflow_home: Path) -> Iterator[str]:
    """The address of a running MLflow server."""
    with running_mlflow(mlflow_home, free_port()) as uri:
        yield uri


@contextmanager
def running_mlflow(home: Path, port: int, *, last: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """Run an MLflow server on what *home* holds, and give its address; *last* ends it and its workers."""
    (home / "mlflow").mkdir(exist_ok=True)
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            server_command(port, home=home),
            env=server_environment(os.environ),
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    uri = server_url(port)
    try:
        wait_until(lambda: _answers(f"{uri}/health"), f"MLflow to answer (log: {home / 'server.log'})")
        yield uri
    finally:
        end(process, last)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, verify=authorities()).is_success
    except httpx.HTTPError:
        return False
