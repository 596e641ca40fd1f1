"""A job's status in the catalog takes the ways of the table of statuses, and no other."""

import pytest

from configs.errors import ConflictError
from configs.states import JobStatus
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Job
from tests.builders import build, job, start_loop


def test_a_job_that_has_ended_does_not_run_again(sqlite_catalog: Catalog) -> None:
    loop = start_loop(sqlite_catalog, build(sqlite_catalog))
    with sqlite_catalog.write() as session:
        session.get_one(Job, loop).status = JobStatus.CANCELED

    with pytest.raises(ConflictError, match="Canceled does not become Running"), sqlite_catalog.write() as session:
        session.get_one(Job, loop).status = JobStatus.RUNNING

    assert job(sqlite_catalog, loop).status == JobStatus.CANCELED


def test_a_status_may_be_written_again(sqlite_catalog: Catalog) -> None:
    loop = start_loop(sqlite_catalog, build(sqlite_catalog))

    with sqlite_catalog.write() as session:
        session.get_one(Job, loop).status = JobStatus.RUNNING

    assert job(sqlite_catalog, loop).status == JobStatus.RUNNING
