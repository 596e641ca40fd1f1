"""A round again: compared with what the round was compared with, whatever is published by now."""

import pytest

from infra.services.callers import Caller, Role
from infra.services.learning import reruns
from tests.builders import ORG
from tests.rounds_in_memory import Ward

EVE = Caller(org=ORG, subject="eve", name="Eve", role=Role.ENGINEER)


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: nothing here is different on PostgreSQL."""
    return sqlite_url


def test_a_rerun_is_judged_against_what_was_published_at_the_time(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.2, 0.5, 0.6, 0.5)
    held = ward.start("auto", min_cases=2)
    original = ward.run(held)
    ward.round("auto", min_cases=2)
    served = ward.published()

    again = ward.run(ward.claim(reruns.rerun(ward.parts, EVE, held.job_id)))

    start, *_ = ward.versions()
    assert ward.published() == served
    assert (again.published, again.key_metric) == (original.published, original.key_metric)
    assert again.published is not None
    assert (again.published.version, again.published.mean) == (start, 0.2)
    assert (again.forgetting, again.decision) == (original.forgetting, "kept_back")
    assert "this job publishes nothing" in again.reason


def test_the_difference_is_between_the_rerun_and_the_round_that_it_repeats(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.2, 0.5, 0.9, 0.4)
    held = ward.start("auto", min_cases=2)
    ward.run(held)
    ward.round("auto", min_cases=2)
    again = reruns.rerun(ward.parts, EVE, held.job_id)
    ward.run(ward.claim(again))

    found = reruns.compare(ward.parts, EVE, again)

    numbers = {number.name: (number.before, number.after) for number in found.numbers}
    assert (found.round, found.same_weights) == (held.job_id, False), "in memory, every training differs"
    assert numbers["mean of the published"] == pytest.approx((0.2, 0.2))
    assert numbers["mean of the challenger"] == pytest.approx((0.5, 0.4))
    assert numbers["liver"] == pytest.approx((0.5, 0.4))


def test_what_a_rerun_measures_is_counted_once(ward: Ward) -> None:
    ward.label("t1", "t2", "e1")
    ward.by_number(0.2, 0.5, 0.5, 0.7)
    held = ward.start("auto")
    ward.run(held)
    ward.run(ward.claim(reruns.rerun(ward.parts, EVE, held.job_id)))
    ward.label("t3")

    assert ward.round("auto").prequential_cases == 3
