"""Weights that somebody brings are a challenger as any other, but nothing was learnt here: labels go on waiting."""

import pytest
from sqlalchemy import select

from configs.specs.round import RoundSpec
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Experiment, ModelVersion
from infra.services.callers import Caller, Role
from infra.services.learning import reruns
from tasks.rounds.jobs.upload import start_uploaded
from tasks.rounds.steps.decide import UPLOADED
from tasks.rounds.steps.work import Claim
from tests.builders import ORG
from tests.rounds_in_memory import Ward

EVE = Caller(org=ORG, subject="eve", name="Eve", role=Role.ENGINEER)


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: nothing here is different on PostgreSQL."""
    return sqlite_url


def uploaded(ward: Ward, content: bytes = b"weights") -> ModelVersion:
    """Keep weights and start their job."""
    blob = ward.parts.blobs.put_bytes(content)
    with ward.parts.catalog.write() as session:
        return start_uploaded(session, session.get_one(Experiment, ward.experiment), blob, actor="eve")


def claimed(ward: Ward, version: ModelVersion) -> Claim:
    return ward.claim(version.job_id or "")


def test_better_weights_are_published_and_worse_ones_kept_back_with_what_is_not_known_of_them(ward: Ward) -> None:
    ward.label("t1", "t2", "e1", "e2")
    ward.by_number(0.3, 0.6, 0.5)
    better = uploaded(ward)
    assert (ward.published(), better.number) == (ward.versions()[0], 1), "until the gate says so, nothing changes"

    result = ward.run(claimed(ward, better))
    assert (result.decision, ward.published(), result.training_cases) == ("published", better.id, 0)
    assert UPLOADED in result.reason

    worse = uploaded(ward, b"others")
    kept = ward.run(claimed(ward, worse))
    assert (kept.decision, ward.published()) == ("kept_back", better.id)
    assert kept.reason.startswith("weak evidence: the mean is lower")
    assert UPLOADED in kept.reason
    assert ward.hosts.trained == []


def test_labels_by_which_they_were_judged_wait_for_a_round_and_are_new_to_it(ward: Ward) -> None:
    ward.label("t1", "t2")
    ward.by_number(0.3, 0.6, 0.7)
    ward.run(claimed(ward, uploaded(ward)))
    with ward.parts.catalog.read() as session:
        assert jobs.trained_to(session, ward.experiment) == 0

    loop = ward.loop(2)
    with ward.parts.catalog.read() as session:
        child = jobs.open_child(session, loop)
    assert child is not None, "both labels count for the loop"
    held = ward.claim(child.id)
    result = ward.run(held)
    assert [row.fresh for row in ward.snapshot(held).rows] == [True, True]
    assert (result.prequential_cases, result.training_cases) == (2, 2)


def test_without_any_label_they_are_kept_for_a_person_to_publish(ward: Ward) -> None:
    result = ward.run(claimed(ward, uploaded(ward)))
    assert (result.decision, ward.published()) == ("kept_back", ward.versions()[0])
    assert "unproven: there is no labelled case to try it on" in result.reason
    assert len(ward.versions()) == 2


def test_the_same_weights_join_the_job_that_waits_and_others_do_not(ward: Ward) -> None:
    first, again, other = uploaded(ward), uploaded(ward), uploaded(ward, b"others")
    assert (first.id, first.job_id) == (again.id, again.job_id)
    assert other.job_id != first.job_id
    with ward.parts.catalog.write() as session:
        specs = [RoundSpec.model_validate(jobs.get(session, str(one.job_id)).spec) for one in (first, other)]
    assert [spec.uploaded for spec in specs] == [first.weights, other.weights]


def test_the_job_done_again_judges_the_same_weights(ward: Ward) -> None:
    ward.label("t1", "e1")
    version = uploaded(ward)
    ward.run(claimed(ward, version))

    again = reruns.rerun(ward.parts, EVE, version.job_id or "")
    result = ward.run(ward.claim(again))

    assert (result.decision, ward.hosts.trained) == ("kept_back", [])
    assert reruns.compare(ward.parts, EVE, again).same_weights is True
    with ward.parts.catalog.read() as session:
        learnt_from = session.scalars(select(ModelVersion.snapshot).where(ModelVersion.job_id.is_not(None))).all()
    assert learnt_from == [None, None]
