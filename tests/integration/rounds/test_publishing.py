"""What becomes of a challenger: by the gate, by a person, and while somebody else publishes."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier

import pytest
from sqlalchemy import select

from configs.errors import ConflictError, TeachbackError
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Decision, Experiment, Publication
from tasks.publishing.gate import Verdict
from tasks.publishing.publish import before, publish_by_person, publish_challenger
from tasks.publishing.review import decline, waiting
from tasks.rounds.records.report import round_table
from tasks.rounds.records.result import RoundResult
from tasks.rounds.steps.evaluate import AGAIN
from tests.rounds_in_memory import Ward

BETTER = Verdict(outcome="publish", rule="paired evidence", reason="better", cases=5)


def publications(ward: Ward) -> list[Publication]:
    with ward.parts.catalog.read() as session:
        return list(session.scalars(select(Publication).order_by(Publication.seq)))


def by_person(ward: Ward, version: str) -> None:
    """Publish a version whatever is published now."""
    with ward.parts.catalog.write() as session:
        seen = session.get_one(Experiment, ward.experiment).published_version
        publish_by_person(session, ward.experiment, version, expected=seen, actor="eve", reason="as eve says")


def two_rounds(ward: Ward) -> None:
    """Two evaluation cases, and a published version 1 beside version 0."""
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.3, 0.6, 0.5)
    assert ward.round().decision == "published"


def test_a_worse_challenger_with_two_evaluation_cases_is_kept_back_and_the_numbers_say_why(ward: Ward) -> None:
    two_rounds(ward)

    held = ward.start()
    result = ward.run(held)

    assert ward.published() == ward.versions()[1]
    assert result.verdict is not None
    assert (result.decision, result.verdict.rule, result.verdict.cases) == ("kept_back", "weak evidence", 2)
    assert result.reason == (
        "weak evidence: the mean is lower (mean 0.6000 -> 0.5000 on 2 cases, lower bound of the gain -0.1000)"
    )
    assert ward.job(held).message == result.reason
    sentence, rows = round_table(ward.parts, held.job_id)
    assert sentence == f"Training: kept_back. {result.reason} mean_dice (prequential) on 0 cases, 2 scores reused."
    assert rows[-1] == {
        "label": "cohort unknown (2 cases)",
        "published": "0.600",
        "challenger": "0.500",
        "forgetting": "0.100",
    }


def test_a_rollback_during_the_evaluation_is_not_overwritten_by_a_challenger_that_it_beats(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.7, 0.6, 0.65)
    ward.round("auto")
    start, one = ward.versions()
    ward.hosts.meanwhile = lambda: by_person(ward, start)

    held = ward.start()
    result = ward.run(held)

    assert (result.decision, ward.published()) == ("kept_back", start)
    assert [publication.version_id for publication in publications(ward)] == [start, one, start]
    assert ward.evaluation(held).published == one
    assert ward.evaluation(held, AGAIN).published == start
    # Scores of that version were measured in the first round, and the challenger's just before.
    assert len(ward.hosts.asked) == 2
    assert result.published is not None
    assert (result.published.version, result.scores_reused) == (start, 4)


def test_a_challenger_that_beats_what_was_published_meanwhile_is_published_on_those_numbers(ward: Ward) -> None:
    two_rounds(ward)
    ward.by_number(0.3, 0.6, 0.7)
    start = ward.versions()[0]
    ward.hosts.meanwhile = lambda: by_person(ward, start)

    result = ward.round()

    last = publications(ward)[-1]
    assert (result.decision, last.previous_id, last.seq) == ("published", start, 4)
    assert result.verdict is not None
    assert result.verdict.published_mean == pytest.approx(0.3)


def test_a_challenger_is_kept_back_when_the_published_version_changes_twice(ward: Ward) -> None:
    two_rounds(ward)
    ward.by_number(0.3, 0.6, 0.9)
    start, one = ward.versions()
    ward.hosts.meanwhile = lambda: by_person(ward, start)
    ward.label("e3")  # of which the version that comes back has no score: the second evaluation runs it
    run = ward.hosts.score

    def change_again(version: str, case: str) -> dict[str, float | None] | None:
        if version == start and ward.published() == start:
            by_person(ward, one)
        return run(version, case)

    ward.hosts.score = change_again

    result = ward.round()

    assert (result.decision, ward.published()) == ("kept_back", one)
    assert "published twice" in result.reason


def test_a_challenger_under_review_waits_until_a_person_publishes_it(ward: Ward) -> None:
    two_rounds(ward)
    held = ward.start("review")
    assert ward.run(held).decision == "review"
    _, one, two = ward.versions()
    with ward.parts.catalog.read() as session:
        assert waiting(session, ward.experiment) == [two]
    assert ward.published() == one

    by_person(ward, two)

    assert ward.published() == two
    assert (ward.result(held).decision, ward.result(held).reason) == ("published", "as eve says")
    with ward.parts.catalog.read() as session:
        assert waiting(session, ward.experiment) == []


def test_a_loop_shows_what_a_person_decided_of_its_last_round(ward: Ward) -> None:
    loop_id = ward.loop(2, "review")
    ward.label("t1", "t2")
    with ward.parts.catalog.read() as session:
        child = jobs.open_child(session, loop_id)
        assert child is not None
    assert ward.run(ward.claim(child.id)).decision == "review"

    by_person(ward, ward.versions()[1])

    with ward.parts.catalog.read() as session:
        shown = RoundResult.model_validate({**jobs.get(session, loop_id).result, "rounds": None})
    assert (shown.decision, shown.reason) == ("published", "as eve says")


def test_a_challenger_under_review_can_be_declined_once(ward: Ward) -> None:
    two_rounds(ward)
    held = ward.start("review")
    ward.run(held)
    one, two = ward.versions()[1:]

    with ward.parts.catalog.write() as session:
        decline(session, ward.experiment, two, actor="eve", reason="misses small lesions")

    assert (ward.result(held).decision, ward.result(held).reason) == ("declined", "misses small lesions")
    assert ward.published() == one
    with pytest.raises(ConflictError, match="declined"), ward.parts.catalog.write() as session:
        decline(session, ward.experiment, two, actor="eve", reason="again")
    with pytest.raises(ConflictError, match="no decision"), ward.parts.catalog.write() as session:
        decline(session, ward.experiment, one, actor="eve", reason="")


def test_every_finished_challenger_is_published_automatically_and_none_where_nothing_is_to_be(ward: Ward) -> None:
    two_rounds(ward)
    ward.by_number(0.3, 0.6, 0.1, 0.9)

    assert ward.round("auto").decision == "published"
    assert ward.round("none").decision == "kept_back"
    assert ward.published() == ward.versions()[2]


def test_when_gate_and_person_publish_at_once_neither_is_lost(ward: Ward) -> None:
    ward.label("t1", "t2")
    start = ward.published()
    ward.round()
    one = ward.versions()[1]
    ward.label("t3")
    held = ward.start()
    both = Barrier(2)

    def person() -> str:
        both.wait()
        with ward.parts.catalog.write() as session:
            publish_by_person(session, ward.experiment, start or "", expected=one, actor="eve", reason="back")
        return "published"

    def gate() -> str:
        both.wait()
        with ward.parts.catalog.write() as session:
            return publish_challenger(session, held.job_id, held.n, challenger=one, compared_with=one, verdict=BETTER)

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(person), pool.submit(gate)]
        outcomes = [_outcome(future.exception() or future.result()) for future in asked]

    served = publications(ward)
    assert [publication.seq for publication in served] == list(range(1, len(served) + 1))
    assert outcomes in (["published", "stale"], ["published", "published"], ["conflict", "published"])
    assert all(after.previous_id == prior.version_id for prior, after in pairwise(served))


def test_rolling_back_twice_goes_two_steps_back(ward: Ward) -> None:
    ward.label("t1", "t2")
    ward.round("auto")
    ward.round("auto")
    start, one, two = ward.versions()

    for expected in (one, start):
        back = before(publications(ward))
        assert back == expected
        by_person(ward, back)

    assert before(publications(ward)) is None
    by_person(ward, two)
    assert before(publications(ward)) == start


def test_a_decision_keeps_the_verdict_that_was_given(ward: Ward) -> None:
    two_rounds(ward)
    held = ward.start("review")
    ward.run(held)
    by_person(ward, ward.versions()[2])

    with ward.parts.catalog.read() as session:
        decision = session.get_one(Decision, held.job_id)
    assert Verdict.model_validate(decision.verdict).challenger_mean == pytest.approx(0.5)
    assert RoundResult.model_validate(ward.job(held).result).verdict is not None


def _outcome(found: object) -> str:
    if isinstance(found, ConflictError):
        return "conflict"
    if isinstance(found, TeachbackError):
        raise found
    return str(found)
