"""`teachback jobs cancel | pause | resume`, against the application over a real port."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.doors.cli import jobs
from infra.services.callers import Role
from tests.integration.api.conftest import Api, write_label


@pytest.fixture
def loop(engineer: Api, experiment: str) -> str:
    """A loop whose rounds are due with ten labels."""
    return str(engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 10}))


def _say(address: str, person: Api, *words: str) -> tuple[str, int]:
    result = CliRunner().invoke(jobs.app, [*words, "--url", address, "--key", person.secret])
    return " ".join(result.output.split()), result.exit_code


def test_a_round_is_asked_for_now_with_the_labels_that_wait(
    address: str, engineer: Api, annotator: Api, loop: str, tmp_path: Path
) -> None:
    assert _say(address, engineer, "resume", loop, "--round-now")[0].endswith("no round starts: no label waits")
    content = write_label(tmp_path / "l.nii").read_bytes()
    annotator.at("PUT", "/label/set/datastore/label?image=p1/a", files={"label": ("l.nii", content)})
    assert {row["action"] for row in engineer.call("GET", "/experiments/*/jobs").json()} == {"annotation"}

    said, status = _say(address, engineer, "resume", loop, "--round-now")

    assert (said, status) == (f"Job {loop} is Running; round 1 starts", 0)
    children = [row for row in engineer.call("GET", "/experiments/*/jobs").json() if row["parent_id"] == loop]
    assert [(row["action"], row["status"]) for row in children] == [("train", "Pending")]


def test_a_loop_is_paused_resumed_and_cancelled_and_an_annotator_may_not(
    address: str, people_of: dict[Role, Api], loop: str
) -> None:
    engineer, annotator = people_of[Role.ENGINEER], people_of[Role.ANNOTATOR]

    assert _say(address, engineer, "pause", loop) == (f"Job {loop} is Paused", 0)
    assert _say(address, annotator, "resume", loop)[1] != 0
    assert _say(address, engineer, "resume", loop) == (f"Job {loop} is Running", 0)
    assert _say(address, engineer, "cancel", loop) == (f"Cancelled {loop}.", 0)
    assert _say(address, engineer, "cancel", "no such job")[1] != 0
