"""Ports and passwords of the parts: chosen once, kept in the home folder."""

import secrets
import socket
from pathlib import Path

from pydantic import BaseModel, ValidationError

from configs.durable import written
from configs.errors import ConflictError

LOOPBACK = "127.0.0.1"


class Ports(BaseModel):
    """TCP ports of one installation; 0 = not chosen yet."""

    api: int = 0
    prefect: int = 0
    mlflow: int = 0


def read_ports(home: Path) -> Ports:
    """Return the ports kept in *home*; zeros where there are none."""
    try:
        return Ports.model_validate_json((home / "ports.json").read_bytes())
    except (OSError, ValidationError):
        return Ports()


def choose_ports(home: Path, *, host: str, api: int) -> Ports:
    """Return free ports and keep them in *home*; a kept one that something else took is chosen anew.

    Args:
        home: The home folder.
        host: Address the API listens at; the other parts listen on loopback.
        api: Port of the API; 0 = a free one.

    Raises:
        ConflictError: If the API's port is taken.
    """
    if api and not _is_free(host, api):
        raise ConflictError(f"Port {api} of {host} is taken. Choose another one with --port, or 0 for a free one.")
    kept = read_ports(home)
    ports = Ports(
        api=api or _free(host, kept.api), prefect=_free(LOOPBACK, kept.prefect), mlflow=_free(LOOPBACK, kept.mlflow)
    )
    write_private(home / "ports.json", ports.model_dump_json())
    return ports


def secret(path: Path) -> str:
    """Return the random secret kept at *path* (mode 600), made if missing."""
    if not path.exists():
        write_private(path, f"teachback:{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def admin_key_file(home: Path) -> Path:
    """Where the home's own admin key is kept, mode 600."""
    return home / "admin.key"


def write_private(path: Path, text: str) -> None:
    """Write *text* whole or not at all, readable by this user alone."""
    with written(path, mode=0o600) as file:
        file.write(text.encode())


def _free(host: str, wanted: int) -> int:
    if wanted and _is_free(host, wanted):
        return wanted
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what ended just now does not hold its port
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
