"""What `teachback jobs`, `models` and `status` show of numbers that look alike, or that there are none of."""

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from infra.adapters.catalog.tables import Job
from infra.doors.cli import jobs, models
from infra.wiring import Parts
from tasks.rounds.records.result import RoundResult
from tests.integration.api.conftest import Api


@pytest.fixture
def key(engineer: Api, address: str) -> list[str]:
    """How the command line is told where and who."""
    return ["--url", address, "--key", engineer.secret]


def test_a_metric_of_no_case_is_a_dash(engineer: Api, experiment: str, parts: Parts, key: list[str]) -> None:
    job = engineer.made(f"/experiments/{experiment}/jobs", action="train")
    result = RoundResult(metric_kind="prequential", metric_cases=0).model_dump(mode="json")
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job).values(status="Done", result=result))

    shown = CliRunner().invoke(jobs.app, key).output

    assert job in shown
    assert "0.000" not in shown


def test_a_version_and_a_publication_do_not_look_alike(engineer: Api, experiment: str, key: list[str]) -> None:
    assert experiment

    shown = CliRunner().invoke(models.app, key).output

    (row,) = [line for line in shown.splitlines() if " v0 " in line]
    assert " #1 " in row
    assert engineer.org
