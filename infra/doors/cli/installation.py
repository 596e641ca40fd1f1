"""An installation that runs while a `with` block does: what `up` and `demo` share."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from rich.status import Status

from configs.errors import InvalidRequestError
from configs.settings import Settings
from infra.doors.cli.client import Client
from infra.doors.cli.supervisor.addresses import admin_key_file
from infra.doors.cli.supervisor.events import Event
from infra.doors.cli.supervisor.front import Front, interruptible
from infra.doors.cli.terminal import Terminal, terminal

_NAMES = {
    "prefect": "Prefect server",
    "mlflow": "MLflow server",
    "deployments": "Prefect deployments",
    "worker": "worker of rounds and realtime slots",
    "api": "HTTP API",
}


@dataclass(frozen=True)
class Installation:
    """Everything runs; `front` waits for its end."""

    front: Front
    settings: Settings
    address: str

    def client(self) -> Client:
        """Return a client with the home's own admin key."""
        return Client(self.address, admin_key_file(self.settings.home).read_text().strip())

    def addresses(self) -> list[tuple[str, str]]:
        """Where a person's browser finds what."""
        key = admin_key_file(self.settings.home)
        return [
            ("API docs", f"{self.address}/docs"),
            ("Prefect", f"{self.address}/prefect/  (log in with the key in {key})"),
            ("MLflow", f"{self.address}/mlflow"),
        ]


def settings_for(
    home: Path | None, host: str, port: int, *, insecure_network: bool, changes: Mapping[str, str]
) -> Settings:
    """Return the settings of an installation.

    Args:
        home: None = as the environment says.
        host: Address to listen at.
        port: 0 = a free one.
        insecure_network: Whether another address than loopback may be listened at without TLS.
        changes: Other settings, by name.

    Raises:
        InvalidRequestError: If a setting has no such value, or the address is not loopback and that was not allowed.
    """
    given: dict[str, Any] = {**changes, "host": host, "port": port}
    if home is not None:
        given["home"] = home
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequestError(f"The setting {first['loc'][0]} was refused: {first['msg']}.") from None
    opened = settings.allowed_hosts or settings.cors_origins
    if not settings.auth and (opened or not settings.single_machine):
        raise InvalidRequestError(
            f"--no-auth lets in whoever reaches the server, and --host {host}, TEACHBACK_ALLOWED_HOSTS or"
            " TEACHBACK_CORS_ORIGINS opens it to others: leave these out, or have keys."
        )
    if not settings.single_machine and not insecure_network:
        raise InvalidRequestError(
            f"--host {host} can be reached by others, without TLS: keys and images would travel readable. "
            "Put a TLS proxy before 127.0.0.1, or say --insecure-network."
        )
    return settings


@contextmanager
def running(settings: Settings) -> Iterator[Installation]:
    """Run an installation; everything has ended when this block is left, however that happens.

    Raises:
        ConflictError: If one runs on the same home.
        NotStartedError: If a part does not start.
        KeyboardInterrupt: On SIGINT, SIGTERM or SIGHUP.
    """
    console = terminal(stderr=True)
    with interruptible(), _Progress(console) as progress, Front(settings, watch=progress.show) as front:
        address = front.wait_up()
        progress.started()
        yield Installation(front, settings, address)


class _Progress:
    """Says on standard error what is being waited for."""

    def __init__(self, console: Terminal) -> None:
        self._console = console
        self._waiting: dict[str, float] = {}
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("Starting")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.started()

    def started(self) -> None:
        """Nothing is waited for any more; events are still said, one line each."""
        if self._status:
            self._status.stop()
            self._status = None

    def show(self, event: Event) -> None:
        """Say *event*."""
        name = _NAMES.get(event.part, event.part)
        if event.kind == "starting":
            self._waiting[name] = time.monotonic()
        elif event.kind == "ready" and (began := self._waiting.pop(name, None)) and self._status:
            self._console.print(f"  {name} [dim]{time.monotonic() - began:.1f} s[/dim]")
        elif event.kind == "died":
            self._console.print(event.text, markup=False)
        elif event.kind == "stopping":
            self._console.print("Stopping every part …")
        if self._status and self._waiting:
            self._status.update("Starting: " + ", ".join(self._waiting))
