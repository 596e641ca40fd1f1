"""What MLflow's REST API answers, as far as we read it."""

from pydantic import BaseModel


class Failure(BaseModel):
    """An error's body."""

    error_code: str = ""
    message: str = ""


class Experiment(BaseModel):
    """A group of runs."""

    experiment_id: str
    lifecycle_stage: str = "active"


class ExperimentAnswer(BaseModel):
    """Answer of `experiments/get-by-name`."""

    experiment: Experiment


class RunInfo(BaseModel):
    """Where a run is."""

    run_id: str
    experiment_id: str
    artifact_uri: str


class Run(BaseModel):
    """One run."""

    info: RunInfo


class RunAnswer(BaseModel):
    """Answer of `runs/create` and `runs/get`."""

    run: Run


class RunsAnswer(BaseModel):
    """Answer of `runs/search`."""

    runs: list[Run] = []


class Tag(BaseModel):
    """A word about something."""

    key: str
    value: str = ""


class Version(BaseModel):
    """One number of a registered model."""

    version: str
    tags: list[Tag] = []


class VersionAnswer(BaseModel):
    """Answer of `model-versions/create` and of `registered-models/alias`."""

    model_version: Version


class VersionsAnswer(BaseModel):
    """Answer of `model-versions/search`."""

    model_versions: list[Version] = []
