"""How many rounds `up` lets run at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings import Settings
from infra.doors.cli.supervisor.addresses import Ports
from infra.doors.cli.supervisor.parts import parts_of
from tasks.devices import here


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    here.devices.cache_clear()
    yield
    here.devices.cache_clear()


@pytest.mark.parametrize(("told", "rounds"), [("0, 24576\n1, 24576\n", "2"), ("", "1")])
def test_as_many_rounds_run_as_there_are_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, rounds: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{told}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    parts = parts_of(Settings(home=tmp_path), Ports(api=1, prefect=2, mlflow=3))

    [register] = (part.command for part in parts if part.name == "deployments")
    assert register[register.index("--devices") + 1] == rounds
