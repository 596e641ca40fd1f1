"""What training said as it went, read from where the last reading stopped."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.adapters.tracking.base import MetricPoint

FILE = "events.jsonl"
_CHUNK = 2**20


class MetricEvent(BaseModel):
    """One line of `events.jsonl`: a `configs.wire.host.Metric` with the time it arrived, in seconds since 1970."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    label: str = ""
    step: int
    value: float
    at: float = 0.0

    def point(self) -> MetricPoint:
        """Return it as a number of a run; per label, its name stands behind a slash."""
        name = f"{self.name}/{self.label}" if self.label else self.name
        return MetricPoint(name, self.value, self.step, self.at)


class Reading(NamedTuple):
    """Points, and the offset behind the last of them."""

    points: list[MetricPoint]
    offset: int


def read_events(folders: Sequence[Path], offset: int) -> Reading:
    """Read up to 1 MiB of whole lines behind *offset*.

    Args:
        folders: Folders of the job's attempts, first to last; their files count as one, for only the last one grows.
        offset: Bytes read before.
    """
    skipped = 0
    for folder in folders:
        path = folder / FILE
        size = path.stat().st_size if path.exists() else 0
        if offset < skipped + size:
            with path.open("rb") as file:
                file.seek(offset - skipped)
                found = file.read(_CHUNK)
            whole = found[: found.rfind(b"\n") + 1]
            if whole:
                return Reading(_points(whole), offset + len(whole))
            if folder != folders[-1]:
                offset = skipped + size  # a line that its attempt did not finish: nobody will
        skipped += size
    return Reading([], offset)


def _points(lines: bytes) -> list[MetricPoint]:
    points = []
    for line in lines.splitlines():
        try:
            points.append(MetricEvent.model_validate_json(line).point())
        except ValidationError:
            continue  # another kind of event, or half a line of a process that was killed
    return points
