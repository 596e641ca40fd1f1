"""What `up` runs, and when."""

from pathlib import Path

import pytest

from configs.settings import Settings
from infra.doors.cli.supervisor.addresses import Ports
from infra.doors.cli.supervisor.parts import parts_of, with_embedded

PORTS = Ports(api=1, prefect=2, mlflow=3)


def test_the_warm_host_comes_last_holds_up_nothing_and_gets_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHBACK_PLANTED", "secret")
    parts = parts_of(Settings(home=tmp_path, warm_host=""), PORTS)
    warm = parts[-1]
    assert warm.name == "warm-host"
    assert str(tmp_path / "run" / "warm.sock") in warm.command
    assert not warm.gates
    assert set(warm.needs) == {part.name for part in parts if part.gates}
    assert set(warm.environment) == {"PATH", "LANG", "PYTHONPATH"}


def test_flow_runs_are_forked_in_a_workers_environment_that_stops_with_the_workers(tmp_path: Path) -> None:
    found = {part.name: part for part in parts_of(Settings(home=tmp_path), PORTS)}
    warm, worker = found["warm-flows"], found["worker"]
    assert str(tmp_path / "run" / "flows.sock") in warm.command
    assert warm.environment == worker.environment
    assert worker.environment["TEACHBACK_WARM_FLOWS"] == str(tmp_path / "run" / "flows.sock")
    assert (warm.gates, warm.stops) == (False, worker.stops)


def test_without_warm_flows_workers_start_each_run(tmp_path: Path) -> None:
    found = {part.name: part for part in parts_of(Settings(home=tmp_path, warm_flows="off"), PORTS)}
    assert "warm-flows" not in found
    assert found["worker"].environment["TEACHBACK_WARM_FLOWS"] == "off"


def test_without_mlflow_none_is_started_and_nobody_is_told_of_one(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mlflow_tracking_uri="off")
    found = {part.name: part for part in parts_of(settings, PORTS)}
    assert "mlflow" not in found
    assert found["api"].environment["TEACHBACK_MLFLOW_TRACKING_URI"] == "off"
    assert (settings.tracking_url, with_embedded(settings, PORTS).mlflow_ui_url) == ("", "")


@pytest.mark.parametrize("elsewhere", ["off", "/another/warm.sock"])
def test_a_warm_host_that_is_named_or_not_wanted_is_not_started(tmp_path: Path, elsewhere: str) -> None:
    assert "warm-host" not in {part.name for part in parts_of(Settings(home=tmp_path, warm_host=elsewhere), PORTS)}
