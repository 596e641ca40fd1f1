"""What a bundle host cannot read is left out of a round and named by it; the round goes on with the others."""

import pytest

from configs.errors import BundleError
from infra.adapters.catalog.tables import Image
from tasks.rounds.jobs import attempts
from tasks.rounds.records.report import round_table
from tests.rounds_in_memory import Ward


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: nothing here is different on PostgreSQL."""
    return sqlite_url


def skipped(ward: Ward, patient: str) -> str:
    with ward.parts.catalog.read() as session:
        return session.get_one(Image, ward.images[patient]).skipped_reason


def unreadable(ward: Ward, *patients: str) -> list[int]:
    ward.hosts.unreadable = {str(ward.images[patient]) for patient in patients}
    return sorted(ward.images[patient] for patient in patients)


def test_a_case_that_cannot_be_read_is_named_by_its_round_and_skipped_at_the_second(ward: Ward) -> None:
    ward.label("t1", "t2", "t3", "e1", "e2")
    named = unreadable(ward, "t2", "e1")
    held = ward.start("auto", min_cases=1)

    first = ward.run(held)

    assert (first.decision, first.left_out) == ("published", named)
    assert (first.labels, first.training_cases, first.metric_cases) == (5, 2, 1)
    told = f"Left out, since they or their labels cannot be read: images {named[0]}, {named[1]}."
    assert told in round_table(ward.parts, held.job_id)[0]
    assert ward.job(held).message == f"{first.reason}. {told}"
    asked = [case for cases in ward.hosts.asked[0].values() for case in cases]
    assert str(ward.images["t2"]) not in asked, "what training could not read is not tried again"
    assert (skipped(ward, "t2"), skipped(ward, "e1")) == ("", "")

    second = ward.round("auto", min_cases=1)

    assert (second.decision, second.left_out) == ("published", named)
    assert all("could not read" in skipped(ward, patient) for patient in ("t2", "e1"))
    assert skipped(ward, "t1") == ""


def test_where_no_held_out_case_can_be_read_the_challenger_proves_itself_on_training_cases(ward: Ward) -> None:
    ward.label("t1", "t2", "e1")
    named = unreadable(ward, "e1")

    result = ward.round()

    assert result.verdict is not None
    assert (result.decision, result.verdict.rule, result.left_out) == ("published", "unproven", named)


def test_a_bundle_that_can_read_none_of_the_cases_fails_and_no_image_is_skipped_for_it(ward: Ward) -> None:
    ward.label("t1", "t2")
    for _ in range(2):
        held = ward.start()
        unreadable(ward)  # training reads them
        ward.hosts.meanwhile = lambda: ward.hosts.unreadable.update(str(image) for image in ward.images.values())
        with pytest.raises(BundleError, match=r"none of the 2 cases .* validate#preprocessing"):
            ward.run(held)
        with ward.parts.catalog.write() as session:
            attempts.fail(session, held.job_id, held.n, "so")

    assert (skipped(ward, "t1"), skipped(ward, "t2")) == ("", "")
