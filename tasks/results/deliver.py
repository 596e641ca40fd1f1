"""A finished job's files written to its workspace, besides our own store; tried until they are there."""

from pydantic import BaseModel

from infra.adapters.catalog.outbox import Entry
from infra.adapters.catalog.tables import Job
from infra.wiring import Parts
from tasks.results.files import files_of
from tasks.results.place import place_of


class ToWrite(BaseModel):
    """The payload of `results`."""

    job: str


def write_results(parts: Parts, entry: Entry) -> None:
    """Write what of a job's files is not in the workspace yet, as `results/<job>/<file>`.

    Raises:
        StoreError: If the store cannot be written now.
        InvalidRequestError: If its address may, by now, not be called.
    """
    with parts.catalog.read() as session:
        job = session.get(Job, ToWrite.model_validate(entry.payload).job)
    place = place_of(parts, entry.ref)
    if job is None or place is None:
        return
    folder = place.folder_of(job.id)
    there = {found.path: found.size for page in place.files.pages(f"{folder}/") for found in page}
    for file in files_of(parts, job):
        target = f"{folder}/{file.name}"
        # A job's files never change: one of the same size was written whole by an earlier try.
        if there.get(target) != file.path.stat().st_size:
            place.files.put(target, file.path)
