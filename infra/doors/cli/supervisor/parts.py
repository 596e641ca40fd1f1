"""What runs on one machine, and in which order."""

import sys
from collections.abc import Mapping

from configs.settings import Settings
from infra.doors.cli.supervisor.addresses import LOOPBACK, Ports, secret
from infra.doors.cli.supervisor.lifelines import MARK
from infra.doors.cli.supervisor.part import Part

PREFECT, MLFLOW, PREPARE, DEPLOYMENTS, API = "prefect", "mlflow", "prepare", "deployments", "api"
POOLS = ("rounds", "realtime")


def api_address(host: str, port: int) -> str:
    """Address of the API as a person on this machine types it."""
    name = {"0.0.0.0": LOOPBACK, "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # read, not bound
    return f"http://{name}:{port}"


def parts_of(settings: Settings, ports: Ports) -> list[Part]:
    """Return what this installation has to run itself; what a URL in *settings* names runs elsewhere."""
    parts: list[Part] = []
    updates: dict[str, object] = {"port": ports.api}
    env = {**settings.child_environment(), MARK: str(settings.home)}
    auth = secret(settings.home / "prefect.auth")
    url = f"http://{LOOPBACK}:{ports.prefect}/api"
    env |= {"TEACHBACK_PREFECT_API_URL": url, "TEACHBACK_PREFECT_AUTH": auth, "PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": auth,
     "PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_HOME": str(settings.home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    parts.append(Part("prefect", [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(ports.prefect)], env, answers=f"{url}/health", stops=2))
    parts.append(Part("mlflow", [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(ports.mlflow), "--workers", "1", "--backend-store-uri", f"sqlite:///{settings.home}/mlflow.db"], env, answers=f"http://{LOOPBACK}:{ports.mlflow}/health", stops=2, gates=False))
    for pool in POOLS:
        parts.append(Part(f"worker-{pool}", [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"], env, needs=("prefect",), stops=1))
    return parts
