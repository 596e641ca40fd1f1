"""What runs on one machine, and in which order."""

import sys
from pathlib import Path

from pydantic import SecretStr

from configs.settings import Settings
from infra.adapters.compute.processes import warm_command, warm_environment
from infra.adapters.orchestration import processes as prefect
from infra.adapters.tracking import processes as mlflow
from infra.doors.cli.supervisor.addresses import LOOPBACK, Ports, secret
from infra.doors.cli.supervisor.lifelines import MARK
from infra.doors.cli.supervisor.part import ROOT, Part
from tasks.devices.here import devices

POOLS = ("rounds", "realtime")
_ANYWHERE = {"0.0.0.0": LOOPBACK, "::": "[::1]"}  # noqa: S104 - read here, not bound


def api_address(host: str, port: int) -> str:
    """Return the API's address as a person on this machine types it."""
    return f"http://{_ANYWHERE.get(host, f'[{host}]' if ':' in host else host)}:{port}"


def prefect_auth_file(home: Path) -> Path:
    """Where the embedded Prefect's random `user:password` is kept."""
    return home / "prefect.auth"


def with_embedded(settings: Settings, ports: Ports) -> Settings:
    """Return *settings* with the addresses of what this machine runs itself; those that name another stay."""
    found: dict[str, object] = {"port": ports.api}
    if not settings.prefect_api_url:
        found["prefect_api_url"] = prefect.api_url(ports.prefect)
        found["prefect_auth"] = SecretStr(secret(prefect_auth_file(settings.home)))
    else:
        # Its pages have no place for ours beside them: links go from one address to the other.
        found["prefect_ui_url"] = settings.prefect_ui_url or settings.prefect_api_url.removesuffix("/api")
        found["public_url"] = settings.public_url or api_address(settings.host, ports.api)
    if not settings.mlflow_tracking_uri:
        found["mlflow_tracking_uri"] = mlflow.server_url(ports.mlflow)
    elif settings.tracking_url:
        found["mlflow_ui_url"] = settings.mlflow_ui_url or settings.tracking_url
    return settings.model_copy(update=found)


def parts_of(settings: Settings, ports: Ports) -> list[Part]:
    """Return what this installation has to run itself; what *settings* name by URL runs elsewhere.

    Prefect, the API and the deployments' imports start side by side, since each takes seconds. What nobody waits for
    comes when requests are answered: MLflow, and what hosts and flow runs are forked from.
    """
    embedded = with_embedded(settings, ports)
    environment = {**embedded.child_environment(), MARK: str(settings.home)}
    python = [sys.executable, "-m"]
    parts = []
    if not settings.prefect_api_url:
        parts.append(_prefect(embedded, ports, environment))
    register = [*python, "infra.adapters.orchestration", "--devices", str(len(devices()))]
    starting = [] if settings.prefect_api_url else ["--wait"]
    worker_environment = _worker_environment(embedded, environment)
    parts += [
        Part("deployments", [*register, *starting], worker_environment, once=True),
        _worker(worker_environment),
        Part(
            "api",
            [*python, "infra.doors.cli.prepare", "infra.doors.api"],
            environment,
            answers=f"{api_address(settings.host, ports.api)}/api/v1/health/readiness",
        ),
    ]
    after = tuple(part.name for part in parts)
    if not settings.mlflow_tracking_uri:
        parts.append(_mlflow(settings, ports, environment, after=after))
    return [*parts, *_warm_flows(settings, worker_environment, after=after), *_warm(settings, after=after)]


def _warm_flows(settings: Settings, environment: dict[str, str], *, after: tuple[str, ...]) -> list[Part]:
    """Return the process that flow runs are forked from, unless the settings name another or none.

    It stops with the workers, whose flow runs have been asked to end by then: what is left ends with it.
    """
    if settings.flows_socket is None or settings.warm_flows:
        return []
    command = prefect.warm_command(settings.flows_socket)
    return [Part("warm-flows", command, environment, needs=after, gates=False, stops=1, grace_s=2.0)]


def _warm(settings: Settings, *, after: tuple[str, ...]) -> list[Part]:
    """Return the process that bundle hosts are forked from, unless the settings name another or none.

    It comes last: its imports would take a processor from what the first request waits for.
    """
    if settings.warm_socket is None or settings.warm_host:
        return []
    return [
        Part("warm-host", warm_command(settings.warm_socket), warm_environment(), needs=after, gates=False, grace_s=2.0)
    ]


def _prefect(settings: Settings, ports: Ports, environment: dict[str, str]) -> Part:
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth else ""
    return Part(
        "prefect",
        prefect.server_command(ports.prefect),
        prefect.server_environment(environment, home=settings.home, port=ports.prefect, auth=auth)
        | {MARK: str(settings.home)},
        answers=f"{prefect.api_url(ports.prefect)}/health",
        stops=2,
    )


def _mlflow(settings: Settings, ports: Ports, environment: dict[str, str], *, after: tuple[str, ...]) -> Part:
    return Part(
        "mlflow",
        mlflow.server_command(ports.mlflow, home=settings.home),
        mlflow.server_environment(environment) | {MARK: str(settings.home)},
        needs=after,
        answers=f"{mlflow.server_url(ports.mlflow)}/health",
        gates=False,  # what it would be told waits in the outbox
        stops=2,
        grace_s=3.0,
    )


def _worker(environment: dict[str, str]) -> Part:
    # An idle worker takes 16 s to follow TERM (Prefect 3.8); its flow runs get their time, it gets little.
    return Part(
        "worker",
        [sys.executable, "-m", "infra.doors.cli.worker", *POOLS],  # becomes Prefect's, if the vault's keys are here
        environment,
        needs=("deployments",),
        stops=1,
        grace_s=2.0,
        children_first=True,
    )


def _worker_environment(settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth else None
    return prefect.worker_environment(
        environment,
        home=settings.home,
        url=settings.prefect_api_url,
        auth=auth,
        root=ROOT,
        warm=settings.flows_socket,
    )
