"""Ports and secrets are chosen once and kept."""

import socket
from pathlib import Path

import pytest

from configs.errors import ConflictError
from infra.doors.cli.supervisor.addresses import LOOPBACK, choose_ports, read_ports, secret
from infra.doors.cli.supervisor.parts import api_address


def test_ports_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    first = choose_ports(tmp_path, host=LOOPBACK, api=0)
    assert choose_ports(tmp_path, host=LOOPBACK, api=0) == first == read_ports(tmp_path)
    assert len({first.api, first.prefect, first.mlflow}) == 3


def test_a_kept_port_that_something_else_took_is_chosen_anew(tmp_path: Path) -> None:
    first = choose_ports(tmp_path, host=LOOPBACK, api=0)
    with socket.create_server((LOOPBACK, first.prefect)):
        again = choose_ports(tmp_path, host=LOOPBACK, api=0)
    assert again.prefect != first.prefect
    assert again.mlflow == first.mlflow


def test_a_port_that_was_asked_for_and_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=str(port)):
            choose_ports(tmp_path, host=LOOPBACK, api=port)
    assert read_ports(tmp_path).api == 0


def test_a_damaged_file_of_ports_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    assert read_ports(tmp_path).prefect == 0


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = secret(tmp_path / "prefect.auth")
    assert secret(tmp_path / "prefect.auth") == first
    assert (tmp_path / "prefect.auth").stat().st_mode & 0o777 == 0o600
    assert len(first.partition(":")[2]) > 40


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1")],  # noqa: S104
)
def test_the_address_is_one_that_can_be_typed(host: str, address: str) -> None:
    assert api_address(host, 1) == address
