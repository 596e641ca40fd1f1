"""MLflow, over its REST API.

Its own client package costs 170 MB and more than a second to import, and tries for minutes before it says that a
server is down; the dozen calls needed here are MLflow's documented HTTP API (`/api/2.0/mlflow`).
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from configs.errors import TrackingError
from infra.adapters.tracking import answers
from infra.adapters.tracking.base import MetricPoint

KEY_TAG = "teachback.key"
_TIMEOUT_S = 20.0
_PAGE = 500  # of 1000 metrics that MLflow takes at once
_GONE = "RESOURCE_DOES_NOT_EXIST"
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_PROXIED = "mlflow-artifacts:/"

_Answer = TypeVar("_Answer", bound=BaseModel)


class MlflowTracking:
    """A `Tracking` on one MLflow server.

    Args:
        uri: The server's address, `http://127.0.0.1:5000`; user and password may stand in it.
    """

    def __init__(self, uri: str) -> None:
        if not uri.startswith(("http://", "https://")):
            raise TrackingError(
                "MLflow is reached over HTTP only: set TEACHBACK_MLFLOW_TRACKING_URI to http://… or https://…"
            )
        self._uri = uri.rstrip("/")
        self._http = httpx.Client(timeout=_TIMEOUT_S)

    def ensure_run(
        self, experiment: str, key: str, *, name: str, tags: Mapping[str, str], parent: str | None = None
    ) -> str:
        """Return the id of the run of *key*, made if there is none; its tags are brought up to date."""
        group = self._experiment(experiment)
        wanted = {**tags, KEY_TAG: key, **({"mlflow.parentRunId": parent} if parent else {})}
        query = {"experiment_ids": [group], "filter": f"tags.`{KEY_TAG}` = '{key}'", "max_results": 1}
        found = self._ask("runs/search", query, answers.RunsAnswer).runs
        if found:
            run = found[0].info.run_id
            self._post("runs/log-batch", {"run_id": run, "tags": _pairs(wanted)})
            return run
        create = {"experiment_id": group, "run_name": name, "start_time": _now_ms(), "tags": _pairs(wanted)}
        return self._ask("runs/create", create, answers.RunAnswer).run.info.run_id

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write what the run was asked to do; a parameter that stands already keeps its value."""
        for name, value in params.items():
            # One by one: MLflow refuses a changed value, and with it whatever came in the same call.
            body = {"run_id": run, "key": name, "value": value}
            self._post("runs/log-parameter", body, allow="INVALID_PARAMETER_VALUE")

    def log_metrics(self, run: str, points: Sequence[MetricPoint]) -> None:
        """Write numbers; those that are not finite are left out."""
        metrics = [
            {"key": point.name, "value": point.value, "step": point.step, "timestamp": int(point.at * 1000)}
            for point in points
            if math.isfinite(point.value)
        ]
        for first in range(0, len(metrics), _PAGE):
            self._post("runs/log-batch", {"run_id": run, "metrics": metrics[first : first + _PAGE]})

    def end_run(self, run: str, status: str) -> None:
        """Close a run: FINISHED, FAILED or KILLED."""
        self._post("runs/update", {"run_id": run, "status": status, "end_time": _now_ms()})

    def register_version(self, model: str, version: str, *, run: str, manifest: bytes) -> str:
        """Return the registry's number of our model version, made if there is none."""
        self._post("registered-models/create", {"name": model}, allow=_EXISTS)
        query = {"filter": f"name = '{model}' AND tags.`{KEY_TAG}` = '{version}'", "max_results": "1"}
        found = self._get("model-versions/search", query, answers.VersionsAnswer)
        if found is not None and found.model_versions:
            return found.model_versions[0].version
        source = self._put_manifest(run, version, manifest)
        create = {"name": model, "source": source, "run_id": run, "tags": _pairs({KEY_TAG: version})}
        return self._ask("model-versions/create", create, answers.VersionAnswer).model_version.version

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let *alias* name one number of a registered model."""
        self._post("registered-models/alias", {"name": model, "alias": alias, "version": number})

    def url(self, experiment: str, run: str) -> str:
        """Return the address of a run's page."""
        address = httpx.URL(self._uri).copy_with(username=None, password=None)
        return f"{str(address).rstrip('/')}/#/experiments/{self._experiment(experiment)}/runs/{run}"

    def _experiment(self, name: str) -> str:
        found = self._get("experiments/get-by-name", {"experiment_name": name}, answers.ExperimentAnswer)
        if found is None:
            self._post("experiments/create", {"name": name}, allow=_EXISTS)
            found = self._get("experiments/get-by-name", {"experiment_name": name}, answers.ExperimentAnswer)
        if found is None:
            raise TrackingError(f"MLflow took the experiment {name!r} and does not know it now.")
        if found.experiment.lifecycle_stage != "active":
            self._post("experiments/restore", {"experiment_id": found.experiment.experiment_id})
        return found.experiment.experiment_id

    def _put_manifest(self, run: str, version: str, manifest: bytes) -> str:
        """Store the manifest beside the run and return its address; where MLflow proxies no files, only name it."""
        found = self._get("runs/get", {"run_id": run}, answers.RunAnswer)
        if found is None or not found.run.info.artifact_uri.startswith(_PROXIED):
            return f"teachback://model-versions/{version}"
        folder = found.run.info.artifact_uri.removeprefix(_PROXIED).lstrip("/")
        path = f"/api/2.0/mlflow-artifacts/artifacts/{folder}/manifest/{version}/manifest.json"
        self._call("PUT", path, content=manifest)
        return f"runs:/{run}/manifest/{version}"

    def _get(self, path: str, query: Mapping[str, str], answer: type[_Answer]) -> _Answer | None:
        response = self._call("GET", f"/api/2.0/mlflow/{path}", params=query, allow=_GONE)
        return _parse(response, answer) if response.is_success else None

    def _ask(self, path: str, body: Mapping[str, Any], answer: type[_Answer]) -> _Answer:
        return _parse(self._call("POST", f"/api/2.0/mlflow/{path}", json=body), answer)

    def _post(self, path: str, body: Mapping[str, Any], *, allow: str = "") -> None:
        self._call("POST", f"/api/2.0/mlflow/{path}", json=body, allow=allow)

    def _call(self, method: str, path: str, *, allow: str = "", **content: Any) -> httpx.Response:
        try:
            response = self._http.request(method, f"{self._uri}{path}", **content)
        except httpx.HTTPError as error:
            raise TrackingError(f"MLflow did not answer: {type(error).__name__}.") from error
        if response.is_success:
            return response
        failure = _failure(response)
        if allow and failure.error_code == allow:
            return response
        raise TrackingError(f"MLflow refused {path}: HTTP {response.status_code} {failure.error_code}.")


def _failure(response: httpx.Response) -> answers.Failure:
    try:
        return answers.Failure.model_validate_json(response.content)
    except ValidationError:
        return answers.Failure()


def _parse(response: httpx.Response, answer: type[_Answer]) -> _Answer:
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as error:
        raise TrackingError(f"What answers as MLflow is none: {answer.__name__} was expected.") from error


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _now_ms() -> int:
    return int(time.time() * 1000)
