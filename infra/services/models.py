"""Model versions and bundles: what there is, and what is served."""

from collections.abc import Sequence
from dataclasses import dataclass

from configs.errors import InvalidRequestError
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Bundle, Experiment, Job, ModelVersion, Publication
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.publishing.publish import publish_by_person


@dataclass(frozen=True)
class Models:
    """An experiment's versions and publications, the newest first."""

    experiment: Experiment
    versions: Sequence[ModelVersion]
    publications: Sequence[Publication]


@dataclass(frozen=True)
class Rounds:
    """An experiment's rounds and trainings, the newest first."""

    experiment: Experiment
    jobs: Sequence[Job]


def versions(parts: Parts, caller: Caller, experiment: str) -> Models:
    """Return the versions of an experiment, by its id or name.

    Raises:
        NotFoundError: If the organisation has none.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = catalog.find(session, caller.org, experiment)
        return Models(row, catalog.versions(session, row.id), catalog.publications(session, row.id))


def rounds(parts: Parts, caller: Caller, experiment: str) -> Rounds:
    """Return the rounds of an experiment, by its id or name.

    Raises:
        NotFoundError: If the organisation has none.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = catalog.find(session, caller.org, experiment)
        trained = [job for job in catalog.jobs(session, caller.org, [row.id]) if job.action == "train"]
        return Rounds(row, trained)


def publish(
    parts: Parts, caller: Caller, experiment: str, version_id: str, *, expected: str | None, reason: str
) -> Publication:
    """Publish a version because a person says so; without `expected`, whatever is published now.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment or version.
        ConflictError: If another version than `expected` is published by now.
    """
    allow(caller, Right.PUBLISH)
    with parts.catalog.write() as session:
        row = catalog.find(session, caller.org, experiment)
        seen = expected or row.published_version
        publication = publish_by_person(session, row.id, version_id, expected=seen, actor=caller.subject, reason=reason)
        session.flush()
        session.refresh(publication)
        return publication


def rollback(parts: Parts, caller: Caller, experiment: str, *, expected: str | None, reason: str) -> Publication:
    """Publish what was published before the present version.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment.
        InvalidRequestError: If nothing was published before.
        ConflictError: If another version than `expected` is published by now.
    """
    allow(caller, Right.PUBLISH)
    known = versions(parts, caller, experiment)
    now = known.experiment.published_version
    before = next((seen.previous_id for seen in known.publications if seen.version_id == now), None)
    if before is None:
        raise InvalidRequestError("Nothing was published before the present version: there is nothing to go back to")
    return publish(parts, caller, known.experiment.id, before, expected=expected or now, reason=reason or "rollback")


def bundles(parts: Parts, caller: Caller) -> Sequence[Bundle]:
    """Return the registered bundles."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.bundles(session)
