"""Our MLflow client against a real server: everything may be said twice, and an outage is an error, not a loss."""

from pathlib import Path

import httpx
import pytest

from configs.errors import TrackingError
from configs.settings import Settings
from infra.adapters.tracking.base import MetricPoint
from infra.adapters.tracking.mlflow import KEY_TAG, MlflowTracking
from infra.wiring import Parts
from tasks.simulation.curves import Curve, Point, Simulated
from tasks.simulation.tracked import track
from tests.processes import free_port


def _run(uri: str, run: str) -> httpx.Response:
    return httpx.get(f"{uri}/api/2.0/mlflow/runs/get", params={"run_id": run})


def test_a_run_said_twice_is_one_run_with_the_newest_tags(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    loop = tracking.ensure_run("unet-1", "loop-1", name="annotation loop-1", started=1.0, tags={"job": "loop-1"})
    first = tracking.ensure_run("unet-1", "job-1", name="round 1", started=2.0, tags={"attempt": "1"}, parent=loop)
    again = tracking.ensure_run("unet-1", "job-1", name="round 1", started=2.0, tags={"attempt": "2"}, parent=loop)
    assert again == first != loop
    tags = {tag["key"]: tag["value"] for tag in _run(mlflow_uri, first).json()["run"]["data"]["tags"]}
    assert tags["attempt"] == "2"
    assert tags["mlflow.parentRunId"] == loop


def test_metrics_said_twice_are_the_same_points(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-2", name="round 2", started=2.0, tags={})
    points = [MetricPoint("loss", 1.0 / (step + 1), step, 1000.0 + step) for step in range(1200)]
    tracking.log_metrics(run, [*points, MetricPoint("loss", float("nan"), 2000, 9000.0)])
    tracking.log_metrics(run, points[-10:])
    asked: dict[str, str | int] = {"run_id": run, "metric_key": "loss", "max_results": 5000}
    history = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/metrics/get-history", params=asked).json()["metrics"]
    assert sorted(point["step"] for point in history) == list(range(1200))


def test_a_simulation_said_twice_is_the_same_points(mlflow_uri: str, tmp_path: Path) -> None:
    points = [Point(labels=labels, mean=labels / 10, at=1000.0 + labels) for labels in (3, 6)]
    curve = Curve(strategy="random", seed=0, points=points)
    found = Simulated(
        dataset="studies", experiment="liver", metric="mean_dice", pool=9, held_out=2, target=0.5, curves=[curve]
    )
    parts = Parts(Settings(home=tmp_path, mlflow_tracking_uri=mlflow_uri))
    for _ in range(2):
        track(parts, found, "simulation-1")
    run = parts.tracking.ensure_run("simulation of liver", "simulation-1-random-0", name="", started=1.0, tags={})
    for name, count in {"mean": 2, "area": 1, "labels to 0.500": 1}.items():
        asked = {"run_id": run, "metric_key": name}
        history = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/metrics/get-history", params=asked).json()["metrics"]
        assert len(history) == count, name
    parts.close()


def test_a_parameter_keeps_its_first_value(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-3", name="round 3", started=2.0, tags={})
    tracking.log_params(run, {"epochs": "4"})
    tracking.log_params(run, {"epochs": "5", "seed": "1"})
    params = _run(mlflow_uri, run).json()["run"]["data"]["params"]
    assert {param["key"]: param["value"] for param in params} == {"epochs": "4", "seed": "1"}


def test_of_two_runs_of_one_key_everybody_keeps_the_same_one(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    first = tracking.ensure_run("unet-1", "job-6", name="round 6", started=2.0, tags={})
    group = _run(mlflow_uri, first).json()["run"]["info"]["experiment_id"]
    body = {"experiment_id": group, "tags": [{"key": KEY_TAG, "value": "job-6"}]}
    made = httpx.post(f"{mlflow_uri}/api/2.0/mlflow/runs/create", json=body).json()["run"]["info"]["run_id"]
    kept = tracking.ensure_run("unet-1", "job-6", name="round 6", started=2.0, tags={})
    assert kept == min(first, made)
    gone = _run(mlflow_uri, max(first, made)).json()["run"]["info"]
    assert gone["lifecycle_stage"] == "deleted"


def test_a_label_of_any_name_is_drawn(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-7", name="round 7", started=2.0, tags={})
    names = ("dice/läsion (left); old", "dice//..", "dice/a/b")
    tracking.log_metrics(run, [MetricPoint(name, 0.5, 0, 1.0) for name in names])
    drawn = {metric["key"] for metric in _run(mlflow_uri, run).json()["run"]["data"]["metrics"]}
    assert drawn == {"dice/läsion _left__ old", "dice/_/_", "dice/a/b"}


def test_a_version_is_registered_once_with_its_files_and_found_by_its_alias(mlflow_uri: str, tmp_path: Path) -> None:
    tracking = MlflowTracking(mlflow_uri)
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(1_000_000))
    run = tracking.ensure_run("unet-1", "job-4", name="round 4", started=2.0, tags={})
    files: dict[str, bytes | Path] = {"model.json": b'{"weights": "abc"}', "data/a b.bin": weights}
    first = tracking.register_version("unet-1", "version-a", run=run, tags={"job": "job-4"}, files=files)
    assert tracking.register_version("unet-1", "version-a", run=run, tags={}, files=files) == first
    second = tracking.register_version("unet-1", "version-b", run=run, tags={}, files={"model.json": b"{}"})
    assert second != first
    assert tracking.find_version("unet-1", "version-b") == second
    assert tracking.find_version("unet-1", "version-c") is None
    tracking.set_alias("unet-1", "published", first)
    assert tracking.aliased("unet-1", "published") == "version-a"
    for path, size in (("model.json", 18), ("data/a b.bin", 1_000_000)):
        asked = {"run_uuid": run, "path": f"model/version-a/{path}"}
        assert len(httpx.get(f"{mlflow_uri}/get-artifact", params=asked).content) == size
    tracking.remove_alias("unet-1", "published")
    assert tracking.aliased("unet-1", "published") is None
    for alias in ("published", "challenger"):
        tracking.remove_alias("no such model", alias)
        assert tracking.aliased("no such model", alias) is None


def test_a_closed_run_says_how_and_when_it_ended(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-5", name="round 5", started=2.0, tags={})
    tracking.end_run(run, "FAILED", at=7.5)
    info = _run(mlflow_uri, run).json()["run"]["info"]
    assert (info["status"], info["start_time"], info["end_time"]) == ("FAILED", 2000, 7500)


def test_a_page_that_reaches_the_server_by_another_name_is_refused(mlflow_uri: str) -> None:
    answer = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.example"})
    assert answer.status_code == httpx.codes.FORBIDDEN


def test_an_unreachable_server_is_a_tracking_error(mlflow_uri: str) -> None:
    assert MlflowTracking(mlflow_uri).healthy()
    assert not MlflowTracking(f"http://127.0.0.1:{free_port()}").healthy()
    with pytest.raises(TrackingError, match="did not answer"):
        MlflowTracking(f"http://127.0.0.1:{free_port()}").end_run("x", "FINISHED", at=1.0)


def test_a_folder_is_no_tracking_server(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="HTTP only"):
        MlflowTracking(f"file://{tmp_path}")
