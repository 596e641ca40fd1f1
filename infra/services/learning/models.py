"""Model versions: what there is, and what is served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion, Publication
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.delivery.tracking import group_name
from tasks.publishing import review
from tasks.publishing.publish import before, publish_by_person
from tasks.reconcile.loop import wake

# More than anybody plots.
MOST_ROUNDS = 1000


@dataclass(frozen=True)
class Models:
    """An experiment's versions and publications, the newest first, what was decided by version, and MLflow's name."""

    experiment: Experiment
    versions: Sequence[ModelVersion]
    publications: Sequence[Publication]
    decisions: Mapping[str, str]
    mlflow_model: str


@dataclass(frozen=True)
class Published:
    """A version, the one that is served or one that was uploaded to be, and its weights: safetensors."""

    version: ModelVersion
    sha256: str
    path: Path


@dataclass(frozen=True)
class Rounds:
    """An experiment's rounds and trainings, the newest first, and of very many the newest alone."""

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
        publications = catalog.publications(session, row.id)
        decisions = catalog.decisions(session, row.id)
        return Models(row, catalog.versions(session, row.id), publications, decisions, group_name(row))


def published(parts: Parts, caller: Caller, experiment: str) -> Published | None:
    """Return the weights that an experiment serves; None where they are its bundle's own.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has no such experiment.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        row = catalog.find(session, caller.org, experiment)
        version = session.get(ModelVersion, row.published_version or "")
    if version is None or version.weights is None:
        return None
    return Published(version, version.weights, parts.blobs.path(version.weights))


def rounds(parts: Parts, caller: Caller, experiment: str) -> Rounds:
    """Return the rounds of an experiment, by its id or name.

    Raises:
        NotFoundError: If the organisation has none.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = catalog.find(session, caller.org, experiment)
        return Rounds(row, catalog.trainings(session, row.id, MOST_ROUNDS))


def publish(
    parts: Parts, caller: Caller, version_id: str, *, experiment: str = "", compared_with: str | None, reason: str
) -> Publication:
    """Publish a version because a person says so; without `compared_with`, whatever is published now.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment or version.
        ConflictError: If another version than `compared_with` is published by now.
    """
    allow(caller, Right.PUBLISH)

    def published(session: Session) -> Publication:
        """Publish if what is published is still what the caller compared with."""
        row = _experiment_of(session, caller, version_id, experiment)
        publication = publish_by_person(
            session,
            row.id,
            version_id,
            expected=compared_with or row.published_version,
            actor=caller.subject,
            reason=reason,
        )
        session.flush()
        session.refresh(publication)
        return publication

    publication = parts.catalog.unit(published)
    wake()
    return publication


def decline(parts: Parts, caller: Caller, version_id: str, *, experiment: str = "", reason: str) -> ModelVersion:
    """Keep a version that waits for a person from being served.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment or version.
        ConflictError: If the version does not wait for a person.
    """
    allow(caller, Right.PUBLISH)

    def declined(session: Session) -> ModelVersion:
        """Decline, on the record."""
        row = _experiment_of(session, caller, version_id, experiment)
        review.decline(session, row.id, version_id, actor=caller.subject, reason=reason)
        return session.get_one(ModelVersion, version_id)

    version = parts.catalog.unit(declined)
    wake()
    return version


def rollback(parts: Parts, caller: Caller, experiment: str, *, compared_with: str | None, reason: str) -> Publication:
    """Publish what was published before the present version.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment.
        InvalidRequestError: If nothing was published before.
        ConflictError: If another version than `compared_with` is published by now.
    """
    allow(caller, Right.PUBLISH)
    known = versions(parts, caller, experiment)
    version = before(known.publications)
    if version is None:
        raise InvalidRequestError("Nothing was published before the present version: there is nothing to go back to")
    # What was read above, not what is published then: a publication in between was seen by nobody.
    seen = compared_with or known.experiment.published_version
    reason = reason or "rollback"
    return publish(parts, caller, version, experiment=known.experiment.id, compared_with=seen, reason=reason)


def _experiment_of(session: Session, caller: Caller, version_id: str, experiment: str) -> Experiment:
    """Return the organisation's experiment of this id or name, or that of the version where none is named."""
    if experiment:
        return catalog.find(session, caller.org, experiment)
    version = session.get(ModelVersion, version_id)
    if version is None:
        raise NotFoundError("model version", version_id)
    try:
        return catalog.find(session, caller.org, version.experiment_id)
    except NotFoundError:  # another organisation's: not even its experiment's id is told
        raise NotFoundError("model version", version_id) from None
