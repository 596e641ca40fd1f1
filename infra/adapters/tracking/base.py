"""What we ask of an experiment tracker: runs with metrics, and a registry of model versions with aliases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

Files = Mapping[str, bytes | Path]


class MetricPoint(NamedTuple):
    """One number of a run. `at` is in seconds since 1970: a point sent twice is the same point."""

    name: str
    value: float
    step: int
    at: float


class Tracking(Protocol):
    """Keeps what people look at, never what we read. Every method may raise TrackingError and is safe to repeat."""

    def healthy(self) -> bool:
        """Say whether the tracker answers, within seconds; raises nothing."""
        ...

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
        """Return the id of the run of *key* in *experiment*, made if there is none; its tags are brought up to date.

        Args:
            experiment: Name of the group of runs, made if there is none.
            key: Our own id of what the run shows; of two runs with it, made by two processes at once, one stays.
            name: Shown in the UI.
            started: When what it shows began, in seconds since 1970.
            tags: Catalog ids, hashes and numbers; never a name of a person or a path.
            parent: Id of the run under which this one is shown.
        """
        ...

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write what the run was asked to do; a parameter that stands already keeps its value."""
        ...

    def log_metrics(self, run: str, points: Sequence[MetricPoint]) -> None:
        """Write numbers; those that are not finite are left out, signs that a name may not have become underscores."""
        ...

    def end_run(self, run: str, status: str, *, at: float) -> None:
        """Close a run: FINISHED, FAILED or KILLED, at a time in seconds since 1970."""
        ...

    def register_version(self, model: str, version: str, *, run: str, tags: Mapping[str, str], files: Files) -> str:
        """Return the registry's number of our model version, made if there is none.

        Args:
            model: Name of the registered model, made if there is none.
            version: Our own id of the version.
            run: The run that made it.
            tags: As a run's.
            files: What the version consists of, by its path: bytes, or a local file. They are stored first.
        """
        ...

    def find_version(self, model: str, version: str) -> str | None:
        """Return the registry's number of our model version; None while it has none."""
        ...

    def aliased(self, model: str, alias: str) -> str | None:
        """Return our own id of the version that *alias* names; None where it names none."""
        ...

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let *alias* name one number of a registered model."""
        ...

    def remove_alias(self, model: str, alias: str) -> None:
        """Let *alias* name nothing."""
        ...
