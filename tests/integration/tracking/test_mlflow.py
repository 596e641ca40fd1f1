"""Our MLflow client against a real server: everything may be said twice, and an outage is an error, not a loss."""

from pathlib import Path

import httpx
import pytest

from configs.errors import TrackingError
from infra.adapters.tracking.base import MetricPoint
from infra.adapters.tracking.mlflow import MlflowTracking
from tests.processes import free_port


def _run(uri: str, run: str) -> httpx.Response:
    return httpx.get(f"{uri}/api/2.0/mlflow/runs/get", params={"run_id": run})


def test_a_run_said_twice_is_one_run_with_the_newest_tags(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    loop = tracking.ensure_run("unet-1", "loop-1", name="annotation loop-1", tags={"job": "loop-1"})
    first = tracking.ensure_run("unet-1", "job-1", name="round 1", tags={"attempt": "1"}, parent=loop)
    again = tracking.ensure_run("unet-1", "job-1", name="round 1", tags={"attempt": "2"}, parent=loop)
    assert again == first != loop
    tags = {tag["key"]: tag["value"] for tag in _run(mlflow_uri, first).json()["run"]["data"]["tags"]}
    assert tags["attempt"] == "2"
    assert tags["mlflow.parentRunId"] == loop


def test_metrics_said_twice_are_the_same_points(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-2", name="round 2", tags={})
    points = [MetricPoint("loss", 1.0 / (step + 1), step, 1000.0 + step) for step in range(1200)]
    tracking.log_metrics(run, [*points, MetricPoint("loss", float("nan"), 2000, 9000.0)])
    tracking.log_metrics(run, points[-10:])
    asked: dict[str, str | int] = {"run_id": run, "metric_key": "loss", "max_results": 5000}
    history = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/metrics/get-history", params=asked).json()["metrics"]
    assert sorted(point["step"] for point in history) == list(range(1200))


def test_a_parameter_keeps_its_first_value(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-3", name="round 3", tags={})
    tracking.log_params(run, {"epochs": "4"})
    tracking.log_params(run, {"epochs": "5", "seed": "1"})
    params = _run(mlflow_uri, run).json()["run"]["data"]["params"]
    assert {param["key"]: param["value"] for param in params} == {"epochs": "4", "seed": "1"}


def test_a_version_is_registered_once_with_our_manifest_and_found_by_its_alias(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-4", name="round 4", tags={})
    first = tracking.register_version("unet-1", "version-a", run=run, manifest=b'{"weights": "abc"}')
    assert tracking.register_version("unet-1", "version-a", run=run, manifest=b'{"weights": "abc"}') == first
    second = tracking.register_version("unet-1", "version-b", run=run, manifest=b'{"weights": "def"}')
    assert second != first
    tracking.set_alias("unet-1", "published", second)
    asked = {"name": "unet-1", "alias": "published"}
    found = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/registered-models/alias", params=asked).json()
    assert found["model_version"]["version"] == second
    address = f"{mlflow_uri}/get-artifact"
    manifest = httpx.get(address, params={"run_uuid": run, "path": "manifest/version-b/manifest.json"})
    assert manifest.json() == {"weights": "def"}


def test_a_closed_run_says_how_it_ended_and_has_a_page(mlflow_uri: str) -> None:
    tracking = MlflowTracking(mlflow_uri)
    run = tracking.ensure_run("unet-1", "job-5", name="round 5", tags={})
    tracking.end_run(run, "FAILED")
    assert _run(mlflow_uri, run).json()["run"]["info"]["status"] == "FAILED"
    assert tracking.url("unet-1", run).endswith(f"/runs/{run}")


def test_a_page_that_reaches_the_server_by_another_name_is_refused(mlflow_uri: str) -> None:
    answer = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.example"})
    assert answer.status_code == httpx.codes.FORBIDDEN


def test_an_unreachable_server_is_a_tracking_error() -> None:
    with pytest.raises(TrackingError, match="did not answer"):
        MlflowTracking(f"http://127.0.0.1:{free_port()}").end_run("x", "FINISHED")


def test_a_folder_is_no_tracking_server(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="HTTP only"):
        MlflowTracking(f"file://{tmp_path}")
