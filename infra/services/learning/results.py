"""What jobs made: listed, and given as files or as an archive that is made while it is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog import audit
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Job
from infra.services.callers import Caller, Right, allow
from infra.services.learning import jobs
from infra.wiring import Parts
from tasks.results.archive import Packed, tar_gz
from tasks.results.bundle import CannotExportError, monai_bundle
from tasks.results.files import MODEL, JobFile, version_of
from tasks.results.kept import KeptFile, bring_back, found_files


@dataclass(frozen=True)
class Results:
    """Some of a job's files, or all."""

    job: Job
    files: Sequence[JobFile | KeptFile]

    def single(self) -> tuple[str, Path | BinaryIO]:
        """Return the name of the only file, and where it is here, or the file itself, open."""
        [file] = self.files
        return file.name.rpartition("/")[2], file.path if isinstance(file, JobFile) else file.open()

    def packed(self) -> Iterator[bytes]:
        """Return them as a tar.gz, below a folder named as the job."""
        files = [Packed(f"{self.job.id}/{file.name}", file.open) for file in self.files]
        return tar_gz(files, self.job.modified_at)


def listed(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> Results:
    """Return what a job has made so far; what this machine has lost is looked for in the job's workspace.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the experiment has no such job, or a file of it is nowhere.
        StoreError: If its workspace is asked and cannot be read now.
    """
    allow(caller, Right.RUN_JOBS)
    job = jobs.get(parts, caller, experiment_id, job_id)
    return Results(job, found_files(parts, job))


def everything(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> Results:
    """Return all that a job has made; raises as `listed`, and NotFoundError if that is nothing."""
    found = listed(parts, caller, experiment_id, job_id)
    if not found.files:
        raise _NoResultsError(found.job)
    _note(parts, caller, job_id)
    return found


def chosen(
    parts: Parts, caller: Caller, experiment_id: str, job_id: str, names: Sequence[str], *, model: bool
) -> Results:
    """Return those of a job's files that are named, and the model if it is wanted.

    Raises: as `listed`, and
        NotFoundError: If the job has no such file.
        InvalidRequestError: If nothing is asked for.
    """
    found = listed(parts, caller, experiment_id, job_id)
    wanted = dict.fromkeys([*names, *([MODEL] if model else [])])
    if not wanted:
        msg = "No files passed in list format to download or, best_model or latest_model is not enabled"
        raise InvalidRequestError(f"{msg}: name files in file_lists, as :list_files lists them")
    known = {file.name: file for file in found.files}
    for name in wanted:
        if name not in known:
            raise NotFoundError("file of the job", name, known=known)
    _note(parts, caller, job_id)
    return Results(found.job, [known[name] for name in wanted])


def as_bundle(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> Iterator[bytes]:
    """Return a tar.gz of a bundle that MONAI itself runs, with the weights that a training made.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such job, it made no weights, or MONAI could not build their network.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        job = catalog.job(session, caller.org, experiment_id, job_id)
        version, experiment = version_of(session, job), catalog.get(session, caller.org, experiment_id)
        bundle = catalog.bundle(session, experiment.bundle_id)
    if version is None:
        raise CannotExportError(f"The {job.action} job has made no model: it is {job.status}")
    bring_back(parts, job, version.weights)
    labels = {int(index): name for index, name in experiment.labels.items()}
    made = monai_bundle(parts, bundle, version, labels)
    _note(parts, caller, job_id)
    return tar_gz(made, job.modified_at)


class _NoResultsError(NotFoundError):
    """There is a job, but no file of it yet."""

    def __init__(self, job: Job) -> None:
        super().__init__("file of the job", job.id)
        self._said = f"The {job.action} job has no results: it is {job.status}"

    def __str__(self) -> str:
        return self._said


def _note(parts: Parts, caller: Caller, job_id: str) -> None:
    """Note that somebody took results away: they are what a clinic's images have taught."""

    def noted(session: Session) -> None:
        """Write it to the audit."""
        audit.record(session, caller.org, caller.subject, "job.download", job_id)

    parts.catalog.unit(noted)
