"""How a Prefect server and its workers are started on one machine: commands and environments, nothing runs here.

Everything stays on this machine: loopback only, an auth string (without one, any web page open in a browser here
could start flows), and no telemetry, neither the server's nor the client's.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Prefect's own 10 s would be most of the wait between a label and its round.
POLL_S = 0.5
UI_PATH = "/prefect"


def server_command(port: int) -> list[str]:
    """Return the command of a Prefect server on the loopback *port*."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def api_url(port: int) -> str:
    """Return the API's URL of a server started with `server_command`."""
    return f"http://127.0.0.1:{port}/api"


def server_environment(base: Mapping[str, str], *, home: Path, port: int, auth: str) -> dict[str, str]:
    """Return the environment of a Prefect server.

    Args:
        base: The environment to start from; our own settings are left out, the server has no business with them.
        home: The installation's home folder; Prefect's database goes to `prefect` in it.
        port: As given to `server_command`.
        auth: `user:password` that clients have to show.
    """
    ours = {name: value for name, value in base.items() if not name.startswith("TEACHBACK_")}
    return {
        **ours,
        **_client(home, api_url(port), auth),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect's own default is every origin.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "30",
        # Its pages carry their path in them, so a copy is made, here and not beside the package that others use, too.
        "PREFECT_SERVER_UI_SERVE_BASE": UI_PATH,
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "prefect" / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def worker_command(pools: Sequence[str]) -> list[str]:
    """Return the command of a worker that runs the flow runs of *pools* as processes of this machine."""
    return [sys.executable, "-m", "infra.adapters.orchestration.worker", *pools]


def warm_command(address: Path) -> list[str]:
    """Return the command of the process that flow runs are forked from, in a worker's environment."""
    return [sys.executable, "-m", "infra.adapters.orchestration.warm", str(address)]


def worker_environment(
    base: Mapping[str, str], *, home: Path, url: str, auth: str | None, root: Path, warm: Path | None = None
) -> dict[str, str]:
    """Return the environment of a worker, which its flow runs inherit.

    Args:
        base: `Settings.child_environment()`: flows read their settings from it.
        home: The installation's home folder.
        url: Prefect's API.
        auth: `user:password`, when the server asks for it.
        root: The checkout: the deployments' pull step goes there, and flows import from there.
        warm: The socket of the process that flow runs are forked from; None = each is started.
    """
    python = str(Path(sys.executable).parent)
    return {
        **base,
        **_client(home, url, auth),
        "PATH": os.pathsep.join(filter(None, [python, base.get("PATH", "")])),  # `python` in a job's command is ours
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), base.get("PYTHONPATH", "")])),
        "TEACHBACK_ROOT": str(root),
        "TEACHBACK_WARM_FLOWS": str(warm) if warm else "off",
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_S),
        # A person who cancels in Prefect waits for the job to show it.
        "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "2",
        # What a flow made lies in the catalog and the artifacts: Prefect's copies would only pile up.
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }


def _client(home: Path, url: str, auth: str | None) -> dict[str, str]:
    secret = {"PREFECT_API_AUTH_STRING": auth} if auth else {}
    return {"PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": url, "DO_NOT_TRACK": "1", **secret}
