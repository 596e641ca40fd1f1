"""How an MLflow server is started on one machine: command and environment, nothing runs here."""

import sys
from collections.abc import Mapping
from pathlib import Path


def server_command(port: int, *, home: Path) -> list[str]:
    """Return the command of an MLflow server on the loopback *port*: SQLite and files in `mlflow` of the home folder.

    It answers only to its own loopback names, so that no page of a browser here reaches it by another.
    """
    names = f"127.0.0.1,127.0.0.1:{port},localhost,localhost:{port}"
    options = {"--host": "127.0.0.1", "--port": str(port), "--home": str(home / "mlflow"), "--allowed-hosts": names}
    module = "infra.adapters.tracking"
    return [sys.executable, "-m", module, *(part for option in options.items() for part in option)]


def server_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an MLflow server: nothing of ours, no telemetry, no job runner."""
    ours = {name: value for name, value in base.items() if not name.startswith(("TEACHBACK_", "PREFECT_"))}
    return {
        **ours,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def server_url(port: int) -> str:
    """Return the address of a server started with `server_command`."""
    return f"http://127.0.0.1:{port}"
