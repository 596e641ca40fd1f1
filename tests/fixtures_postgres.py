"""A temporary PostgreSQL cluster on a loopback port, once per test session."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import end, free_port, listens, skip_or_fail, wait_until

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
}
_MEMORY, _ENOUGH = Path("/dev/shm"), 2**30  # noqa: S108 - a name of its own in it


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty cluster, without a database: `postgresql+psycopg://teachback@127.0.0.1:<port>`."""
    binaries = _binaries()
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if binaries is None or (user and user not in {entry.pw_name for entry in pwd.getpwall()}):
        skip_or_fail("PostgreSQL is not installed here (no initdb, or no user `postgres` to run it as).")
        return
    # Every test copies a database of 8 MB, which takes a busy disk a quarter of a second.
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    folder = Path(tempfile.mkdtemp(prefix="teachback-pg-", dir=_MEMORY if in_memory else None))
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    try:
        command = [str(binaries / "initdb"), "-N", "-D", str(data), "-U", "teachback", "--auth=trust", "-E", "UTF8"]
        subprocess.run(command, check=True, user=user, cwd=folder, capture_output=True)
        server = _start(binaries, data, port, user)
        try:
            wait_until(lambda: listens(port) and _answers(binaries, port), "PostgreSQL to answer")
            yield f"postgresql+psycopg://teachback@127.0.0.1:{port}"
        finally:
            end(server, signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


def _start(binaries: Path, data: Path, port: int, user: str | None) -> "subprocess.Popen[bytes]":
    options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    command = [
        str(binaries / "postgres"),
        "-D",
        str(data),
        "-p",
        str(port),
        f"-cunix_socket_directories={data}",
        *options,
    ]
    log = (data.parent / "log.txt").open("wb")
    return subprocess.Popen(
        command, user=user, cwd=data.parent, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def _answers(binaries: Path, port: int) -> bool:
    ready = subprocess.run(
        [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False, capture_output=True
    )
    return ready.returncode == 0
