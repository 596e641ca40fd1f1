"""What the operator sees of the whole installation: its processes' logs, and its numbers."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import exists, func, or_, select

from configs.errors import NotFoundError, UpstreamError
from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import DeviceClaim, Job, Label, Slot
from infra.adapters.catalog.tables.base import now
from infra.services.callers import Caller, Right, allow
from infra.services.operating import pages
from infra.wiring import Parts
from tasks.rounds.jobs.after import waits_for_another

LOG_BYTES = 2**20
_GPU_TOOL, _GPU_TOOL_S = "nvidia-smi", 20
_ENDINGS = (".log", ".jsonl")


@dataclass(frozen=True)
class LogFile:
    """One process's log."""

    name: str
    size: int
    modified_at: float


@dataclass(frozen=True)
class Numbers:
    """Counts over all organisations: labels and slots by state, rounds by what became of them."""

    labels: dict[str, int]
    slots: dict[str, int]
    rounds: dict[str, int]
    stuck_deliveries: int


def logs(parts: Parts, caller: Caller) -> Sequence[LogFile]:
    """Return the logs of this machine's processes.

    Raises:
        ForbiddenError: If the caller is not the operator: an admin, of the home organisation where there are several.
    """
    _operator(parts, caller)
    return [LogFile(path.name, path.stat().st_size, path.stat().st_mtime) for path in _files(parts)]


def log(parts: Parts, caller: Caller, name: str) -> str:
    """Return the last MiB of one log, redacted once more.

    Raises:
        ForbiddenError: As `logs`.
        NotFoundError: If there is no such log.
    """
    _operator(parts, caller)
    found = {path.name: path for path in _files(parts)}
    if name not in found:
        raise NotFoundError("log", name, known=found)
    with found[name].open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_BYTES))
        return parts.redactor.redact(file.read().decode(errors="replace"))


def gpus(parts: Parts, caller: Caller) -> str:
    """Return what NVIDIA's tool says of this machine's GPUs.

    Raises:
        ForbiddenError: As `logs`.
        NotFoundError: If it is not installed: there is no such GPU.
        UpstreamError: If it fails.
    """
    _operator(parts, caller)
    tool = shutil.which(_GPU_TOOL)
    if tool is None:
        raise NotFoundError("tool of NVIDIA's driver on this machine", _GPU_TOOL)
    try:
        said = subprocess.run([tool], capture_output=True, text=True, check=True, timeout=_GPU_TOOL_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise UpstreamError(f"{_GPU_TOOL} failed ({type(error).__name__}): look at the machine's driver") from None
    return said.stdout


def numbers(parts: Parts, caller: Caller) -> Numbers:
    """Return the counts that a monitoring system draws.

    Raises:
        ForbiddenError: As `logs`.
    """
    _operator(parts, caller)
    decision = Job.result["decision"].as_string()
    with parts.catalog.read() as session:
        ended = session.execute(
            select(Job.status, decision, func.count())
            .where(Job.action == "train", Job.status.in_(TERMINAL))
            .group_by(Job.status, decision)
        ).all()
        rounds: dict[str, int] = {}
        for status, what, count in ended:
            said = what if status == JobStatus.DONE and what else str(status).lower()
            rounds[said] = rounds.get(said, 0) + count
        labels = session.execute(select(Label.state, func.count()).group_by(Label.state)).all()
        slots = session.execute(select(Slot.state, func.count()).group_by(Slot.state)).all()
        return Numbers(
            labels={str(state): count for state, count in labels},
            slots={str(state): count for state, count in slots},
            rounds=rounds,
            stuck_deliveries=len(outbox.stuck(session)),
        )


def at_work(parts: Parts, caller: Caller) -> bool:
    """Say whether a job is open, or something computes that is none, such as scores; a paused job works at nothing.

    Raises:
        ForbiddenError: As `logs`.
    """
    _operator(parts, caller)
    # A loop is open for weeks, and its rounds are jobs of their own; what waits for a job waits for that one's end.
    living = Job.status.not_in({*TERMINAL, JobStatus.PAUSED}), Job.deleted_at.is_(None)
    job = Job.action != "annotation", *living, ~waits_for_another()
    computing = DeviceClaim.kind != "live", DeviceClaim.lease_until > now()
    with parts.catalog.read() as session:
        return bool(session.scalar(select(or_(exists().where(*job), exists().where(*computing)))))


def _operator(parts: Parts, caller: Caller) -> None:
    allow(caller, Right.READ_LOGS)
    pages.may_open(parts, caller)


def _files(parts: Parts) -> list[Path]:
    folder = parts.settings.home / "logs"
    return sorted(path for path in folder.glob("*") if path.is_file() and path.suffix in _ENDINGS)
