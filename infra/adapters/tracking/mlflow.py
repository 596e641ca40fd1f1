"""MLflow, over its REST API.

Its own client package costs 170 MB and more than a second to import, and tries for minutes before it says that a
server is down; the dozen calls needed here are MLflow's documented HTTP API (`/api/2.0/mlflow`).
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, ValidationError

from configs.errors import TrackingError
from infra.adapters.tracking import answers
from infra.adapters.tracking.base import Files, MetricPoint

KEY_TAG = "teachback.key"
_TIMEOUT_S = 20.0  # to connect, and between two pieces of an answer
_QUICK_S = 3.0  # of questions that somebody waits for
_UPLOAD_S = 600.0
_PAGE = 500  # of 1000 metrics that MLflow takes at once
_GONE = frozenset({"RESOURCE_DOES_NOT_EXIST"})
_EXISTS = frozenset({"RESOURCE_ALREADY_EXISTS"})
_REFUSED = frozenset({"INVALID_PARAMETER_VALUE"})  # what MLflow says of an alias that there is not, too
_PROXIED = "mlflow-artifacts:/"
_ODD = re.compile(r"[^\w.\- /]")
# MLflow refuses longer keys.
_LONGEST_NAME = 250

_Answer = TypeVar("_Answer", bound=BaseModel)


class MlflowTracking:
    """A `Tracking` on one MLflow server.

    Args:
        uri: The server's address, `http://127.0.0.1:5000`; user and password may stand in it.
        session: What calls it; default one that calls any address.
    """

    def __init__(self, uri: str, session: requests.Session | None = None) -> None:
        if not uri.startswith(("http://", "https://")):
            raise TrackingError(
                "MLflow is reached over HTTP only: set TEACHBACK_MLFLOW_TRACKING_URI to http://… or https://…"
            )
        self._uri = uri.rstrip("/")
        self._http = session or requests.Session()

    def healthy(self) -> bool:
        """Say whether the server answers, within seconds."""
        try:
            return _worked(self._http.get(f"{self._uri}/health", timeout=_QUICK_S, allow_redirects=False))
        except requests.RequestException:
            return False

    def ensure_run(
        self,
        experiment: str,
        key: str,
        *,
        name: str,
        started: float,
        tags: Mapping[str, str],
        parent: str | None = None,
    ) -> str:
        """Return the id of the run of *key*, made if there is none; its tags are brought up to date."""
        group = self._experiment(experiment)
        if not (runs := self._runs(group, key)):
            first = _pairs({KEY_TAG: key})
            create = {"experiment_id": group, "run_name": name, "start_time": _ms(started), "tags": first}
            self._ask("runs/create", create, answers.RunAnswer)
            # Asked again: another process may have made one at the same moment, and both have to keep the same.
            runs = self._runs(group, key)
        if not runs:
            raise TrackingError(f"MLflow made a run of {key!r} and does not find it.")
        run, *doubles = runs  # everybody keeps the same one, whoever made it
        for double in doubles:
            self._post("runs/delete", {"run_id": double})
        wanted = {**tags, **({"mlflow.parentRunId": parent} if parent else {})}
        self._post("runs/log-batch", {"run_id": run, "tags": _pairs(wanted)})
        return run

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write what the run was asked to do; a parameter that stands already keeps its value."""
        for name, value in params.items():
            # One by one: MLflow refuses a changed value, and with it whatever came in the same call.
            body = {"run_id": run, "key": name, "value": value}
            self._post("runs/log-parameter", body, allow=_REFUSED)

    def log_metrics(self, run: str, points: Sequence[MetricPoint]) -> None:
        """Write numbers; those that are not finite are left out."""
        metrics = [
            {"key": _metric_name(point.name), "value": point.value, "step": point.step, "timestamp": _ms(point.at)}
            for point in points
            # JSON has no such numbers: they would fail whatever comes in the same call.
            if math.isfinite(point.value)
        ]
        for first in range(0, len(metrics), _PAGE):
            self._post("runs/log-batch", {"run_id": run, "metrics": metrics[first : first + _PAGE]})

    def end_run(self, run: str, status: str, *, at: float) -> None:
        """Close a run: FINISHED, FAILED or KILLED."""
        self._post("runs/update", {"run_id": run, "status": status, "end_time": _ms(at)})

    def register_version(self, model: str, version: str, *, run: str, tags: Mapping[str, str], files: Files) -> str:
        """Return the registry's number of our model version, made if there is none."""
        self._post("registered-models/create", {"name": model}, allow=_EXISTS)
        if not (numbers := self._numbers(model, version)):
            source = self._put_files(run, version, files)
            wanted = _pairs({**tags, KEY_TAG: version})
            create = {"name": model, "source": source, "run_id": run, "tags": wanted}
            self._ask("model-versions/create", create, answers.VersionAnswer)
            numbers = self._numbers(model, version)
        if not numbers:
            raise TrackingError(f"MLflow registered the version {version!r} and does not find it.")
        number, *doubles = numbers
        for double in doubles:
            body = {"name": model, "version": str(double)}
            self._call("DELETE", "/api/2.0/mlflow/model-versions/delete", json=body, allow=_GONE)
        return str(number)

    def find_version(self, model: str, version: str) -> str | None:
        """Return the registry's number of our model version; None while it has none."""
        return next((str(number) for number in self._numbers(model, version)), None)

    def aliased(self, model: str, alias: str) -> str | None:
        """Return our own id of the version that *alias* names; None where it names none."""
        query = {"name": model, "alias": alias}
        path = "/api/2.0/mlflow/registered-models/alias"
        response = self._call("GET", path, params=query, allow=_GONE | _REFUSED, timeout=_QUICK_S)
        if not _worked(response):
            return None
        tags = _parse(response, answers.VersionAnswer).model_version.tags
        return next((tag.value for tag in tags if tag.key == KEY_TAG), None)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let *alias* name one number of a registered model."""
        self._post("registered-models/alias", {"name": model, "alias": alias, "version": number})

    def remove_alias(self, model: str, alias: str) -> None:
        """Let *alias* name nothing."""
        body = {"name": model, "alias": alias}
        self._call("DELETE", "/api/2.0/mlflow/registered-models/alias", json=body, allow=_GONE)

    def _runs(self, group: str, key: str) -> list[str]:
        """Return the ids of the runs of *key*, in an order that everybody sees."""
        query = {"experiment_ids": [group], "filter": f"tags.`{KEY_TAG}` = '{key}'"}
        return sorted(run.info.run_id for run in self._ask("runs/search", query, answers.RunsAnswer).runs)

    def _numbers(self, model: str, version: str) -> list[int]:
        """Return the numbers that our version has in the registry, lowest first."""
        query = {"filter": f"name = '{model}' AND tags.`{KEY_TAG}` = '{version}'"}
        found = self._get("model-versions/search", query, answers.VersionsAnswer)
        return sorted(int(entry.version) for entry in found.model_versions) if found else []

    def _experiment(self, name: str) -> str:
        found = self._get("experiments/get-by-name", {"experiment_name": name}, answers.ExperimentAnswer)
        if found is None:
            self._post("experiments/create", {"name": name}, allow=_EXISTS)
            found = self._get("experiments/get-by-name", {"experiment_name": name}, answers.ExperimentAnswer)
        if found is None:
            raise TrackingError(f"MLflow took the experiment {name!r} and does not know it now.")
        # Somebody deleted it in MLflow's pages: a deleted one takes no runs, and its name stays taken.
        if found.experiment.lifecycle_stage != "active":
            self._post("experiments/restore", {"experiment_id": found.experiment.experiment_id})
        return found.experiment.experiment_id

    def _put_files(self, run: str, version: str, files: Files) -> str:
        """Store the files beside the run and return their address; where MLflow proxies no files, only name them."""
        found = self._get("runs/get", {"run_id": run}, answers.RunAnswer)
        if found is None or not found.run.info.artifact_uri.startswith(_PROXIED):
            return f"teachback://model-versions/{version}"
        folder = f"{found.run.info.artifact_uri.removeprefix(_PROXIED).lstrip('/')}/model/{version}"
        for name, content in files.items():
            path = f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{folder}/{name}')}"
            if isinstance(content, Path):
                with content.open("rb") as file:
                    self._call("PUT", path, data=file, timeout=_UPLOAD_S)
            else:
                self._call("PUT", path, data=content, timeout=_UPLOAD_S)
        return f"runs:/{run}/model/{version}"

    def _get(self, path: str, query: Mapping[str, str], answer: type[_Answer]) -> _Answer | None:
        response = self._call("GET", f"/api/2.0/mlflow/{path}", params=query, allow=_GONE)
        return _parse(response, answer) if _worked(response) else None

    def _ask(self, path: str, body: Mapping[str, Any], answer: type[_Answer]) -> _Answer:
        return _parse(self._call("POST", f"/api/2.0/mlflow/{path}", json=body), answer)

    def _post(self, path: str, body: Mapping[str, Any], *, allow: Collection[str] = ()) -> None:
        self._call("POST", f"/api/2.0/mlflow/{path}", json=body, allow=allow)

    def _call(self, method: str, path: str, *, allow: Collection[str] = (), **content: Any) -> requests.Response:
        try:
            # A redirect would take what the address's user and password open to another server.
            asked = {"timeout": _TIMEOUT_S, "allow_redirects": False, **content}
            response = self._http.request(method, f"{self._uri}{path}", **asked)
        except requests.RequestException as error:
            raise TrackingError(f"MLflow did not answer: {type(error).__name__}.") from error
        if _worked(response):
            return response
        failure = _failure(response)
        if failure.error_code in allow:
            return response
        raise TrackingError(f"MLflow refused {path}: HTTP {response.status_code} {failure.error_code}.")


def _worked(response: requests.Response) -> bool:
    """Say whether it did what it was asked; a redirect did not."""
    return response.status_code in range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)


def _failure(response: requests.Response) -> answers.Failure:
    try:
        return answers.Failure.model_validate_json(response.content)
    except ValidationError:
        return answers.Failure()


def _parse(response: requests.Response, answer: type[_Answer]) -> _Answer:
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as error:
        raise TrackingError(f"What answers as MLflow is none: {answer.__name__} was expected.") from error


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _metric_name(name: str) -> str:
    """Return the name as MLflow takes it: letters, digits, a few signs; a path without empty or dotted parts."""
    parts = (_ODD.sub("_", part).strip() for part in name.split("/"))
    return "/".join(part if part.strip(".") else "_" for part in parts)[:_LONGEST_NAME]


def _ms(at: float) -> int:
    return int(at * 1000)
