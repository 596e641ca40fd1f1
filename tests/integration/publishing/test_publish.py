"""The published pointer changes in one step, on both databases."""

import pytest
from sqlalchemy import func, select

from configs.errors import ConflictError, NotFoundError, SupersededError
from infra.adapters.catalog import jobs
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Decision, Experiment, Publication
from tasks.devices.claims import Claimant
from tasks.publishing.gate import Verdict
from tasks.publishing.publish import publish_by_person, publish_challenger
from tasks.rounds.count import notify
from tasks.rounds.jobs import attempts
from tests.builders import World, add_version, build, notice, start_loop

PUBLISH = Verdict(outcome="publish", rule="paired evidence", reason="better", cases=5)
KEEP = Verdict(outcome="kept_back", rule="paired evidence", reason="worse", cases=5)


def _round(catalog: Catalog) -> tuple[World, str, str]:
    """A claimed round with a challenger."""
    world = build(catalog)
    loop = start_loop(catalog, world, round_size=1)
    with catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "annotator")
        child = jobs.open_child(session, loop)
        assert child is not None
        attempts.claim(session, child.id, 1, Claimant("h", "here", 1, born="", lease_s=60))
    return world, child.id, add_version(catalog, world, 1, child.id)


def _publish(catalog: Catalog, world: World, job: str, challenger: str, verdict: Verdict = PUBLISH) -> str:
    with catalog.write() as session:
        return publish_challenger(session, job, 1, challenger=challenger, compared_with=world.version, verdict=verdict)


def _published(catalog: Catalog, world: World) -> str | None:
    with catalog.read() as session:
        return session.get_one(Experiment, world.experiment).published_version


def test_a_verdict_is_carried_out_once_however_often_it_is_repeated(catalog: Catalog) -> None:
    world, job, challenger = _round(catalog)

    assert [_publish(catalog, world, job, challenger) for _ in range(3)] == ["published"] * 3

    assert _published(catalog, world) == challenger
    with catalog.read() as session:
        assert session.scalar(select(func.count(Publication.id))) == 1
        assert session.get_one(Experiment, world.experiment).published_seq == 1


def test_a_challenger_that_is_kept_back_leaves_the_published_version(catalog: Catalog) -> None:
    world, job, challenger = _round(catalog)

    assert _publish(catalog, world, job, challenger, KEEP) == "decided"

    assert _published(catalog, world) == world.version
    with catalog.read() as session:
        assert session.get_one(Decision, job).reason == "paired evidence: worse"


def test_a_publication_during_the_evaluation_makes_the_verdict_stale(catalog: Catalog) -> None:
    world, job, challenger = _round(catalog)
    other = add_version(catalog, world, 2)
    with catalog.write() as session:
        publish_by_person(session, world.experiment, other, expected=world.version, actor="ann", reason="better")

    assert _publish(catalog, world, job, challenger) == "stale"
    assert _published(catalog, world) == other


def test_an_attempt_that_was_lost_publishes_nothing(catalog: Catalog) -> None:
    world, job, challenger = _round(catalog)
    with catalog.write() as session:
        attempts.lose(session, job, 1, "killed")

    with pytest.raises(SupersededError):
        _publish(catalog, world, job, challenger)

    assert _published(catalog, world) == world.version


def test_a_rollback_is_a_publication_with_a_higher_number(catalog: Catalog) -> None:
    world, job, challenger = _round(catalog)
    _publish(catalog, world, job, challenger)

    with catalog.write() as session:
        back = publish_by_person(
            session, world.experiment, world.version, expected=challenger, actor="ann", reason="worse on follow-ups"
        )

    assert back.seq == 2
    assert _published(catalog, world) == world.version


def test_a_person_who_saw_an_older_page_is_told_to_look_again(catalog: Catalog) -> None:
    world, job, challenger = _round(catalog)
    _publish(catalog, world, job, challenger)

    with pytest.raises(ConflictError, match="since you looked"), catalog.write() as session:
        publish_by_person(session, world.experiment, challenger, expected=world.version, actor="ann", reason="")


def test_a_version_of_another_experiment_is_not_found(catalog: Catalog) -> None:
    world, foreign = build(catalog), build(catalog)

    with pytest.raises(NotFoundError), catalog.write() as session:
        publish_by_person(session, world.experiment, foreign.version, expected=world.version, actor="ann", reason="")
