"""A job's files as they can still be had: this machine's, and those that it has not got from the job's workspace."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

from configs.errors import CorruptError, NotFoundError
from infra.adapters.catalog.tables import Job
from infra.adapters.images.objects.files import ObjectFiles
from infra.wiring import Parts
from tasks.results.files import MODEL, JobFile, files_of
from tasks.results.place import place_of


class KeptFile(NamedTuple):
    """One file of a workspace: its name below the job, where it is there, and its bytes."""

    name: str
    at: str
    size: int
    store: ObjectFiles
    scratch: Path

    def open(self) -> BinaryIO:
        """Fetch it and return it open: its name is gone, and nothing is left should nobody read it.

        Raises:
            StoreError: If the store cannot be read now.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.scratch, prefix="result-") as folder:
            target = Path(folder) / "file"
            self.store.get(self.at, target, self.size)
            return target.open("rb")


def found_files(parts: Parts, job: Job) -> list[JobFile | KeptFile]:
    """Return a job's files in the order of their names; a workspace is only asked where one is not here.

    Raises:
        NotFoundError: If one is lost, and there is no workspace.
        StoreError: If one is lost, and the workspace cannot be read now.
    """
    try:
        named = files_of(parts, job)
    except NotFoundError:
        if job.workspace_id is None:
            raise
        named = []
    here = [file for file in named if file.path.is_file()]
    if job.workspace_id is None or (here and len(here) == len(named)):
        return [*here]
    found: dict[str, JobFile | KeptFile] = {file.name: file for file in _kept(parts, job, job.workspace_id)}
    found |= {file.name: file for file in here}
    return [found[name] for name in sorted(found)]


def bring_back(parts: Parts, job: Job, weights: str | None) -> None:
    """Fetch the weights that a job made from its workspace, where this machine has lost them.

    Raises:
        CorruptError: If there are others by now. And as `found_files`.
    """
    try:
        parts.blobs.path(weights or "")
    except NotFoundError:
        kept = next((file for file in found_files(parts, job) if file.name == MODEL), None)
        if kept is None:
            raise
        with kept.open() as file, parts.blobs.putting(file) as incoming:
            if incoming.sha256.result() != weights:
                raise CorruptError("The workspace holds other weights than the job made: put its own back") from None


def _kept(parts: Parts, job: Job, workspace_id: str) -> Iterator[KeptFile]:
    place = place_of(parts, workspace_id)
    if place is None:
        return
    folder = f"{place.folder_of(job.id)}/"
    for page in place.files.pages(folder):
        for found in page:
            name = found.path.removeprefix(folder)
            # Whoever may write there chooses names, and callers unpack them.
            if name and not name.startswith("/") and ".." not in PurePosixPath(name).parts and not name.endswith("/"):
                yield KeptFile(name, found.path, found.size, place.files, parts.settings.home / "work")
