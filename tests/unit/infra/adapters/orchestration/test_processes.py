"""What a Prefect server and its workers are given: loopback only, and the server learns nothing of ours."""

import sys
from pathlib import Path

from infra.adapters.orchestration.processes import server_command, server_environment, worker_environment

BASE = {"PATH": "/usr/bin", "TEACHBACK_KEY_FILE": "/home/keys.json", "TEACHBACK_CATALOG_URL": "postgresql://"}
HOME = Path("/home/teachback")


def test_a_server_listens_on_loopback_asks_for_its_auth_string_and_tells_nobody() -> None:
    environment = server_environment(BASE, home=HOME, port=4300, auth="user:secret")
    assert environment["PREFECT_SERVER_API_AUTH_STRING"] == "user:secret"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_HOME"] == str(HOME / "prefect")
    command = server_command(4300)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "user:secret" not in " ".join(command), "every user of this machine can read a command line"


def test_a_server_learns_neither_key_file_nor_catalog() -> None:
    assert not [name for name in server_environment(BASE, home=HOME, port=1, auth="a:b") if name.startswith("TEACH")]


def test_a_worker_finds_our_python_first_and_the_checkout() -> None:
    environment = worker_environment(
        BASE, home=HOME, url="http://127.0.0.1:4300/api", auth=None, root=Path("/checkout")
    )
    assert environment["PATH"].split(":") == [str(Path(sys.executable).parent), "/usr/bin"]
    assert environment["TEACHBACK_ROOT"] == environment["PYTHONPATH"] == "/checkout"
    assert environment["TEACHBACK_KEY_FILE"] == BASE["TEACHBACK_KEY_FILE"], "its flows open the vault"
    assert "PREFECT_API_AUTH_STRING" not in environment
