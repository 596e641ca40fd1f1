"""What a new experiment serves before its first round: the bundle's own weights, or another version's."""

from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Experiment, ModelVersion, Publication


def publish_first(session: Session, experiment: Experiment, *, actor: str, source: ModelVersion | None = None) -> None:
    """Give a new experiment its version 0 and publish it.

    Args:
        session: The unit that adds the experiment, which is flushed already.
        experiment: Has no version yet.
        actor: Who made it.
        source: A version of another experiment with the same bundle to start from; None = the bundle's own weights.
    """
    version = ModelVersion(
        experiment_id=experiment.id,
        number=0,
        bundle_id=experiment.bundle_id,
        weights=source.weights if source else None,
        parent_id=source.id if source else None,
        created_by=actor,
    )
    session.add(version)
    session.flush()
    experiment.published_version, experiment.published_seq = version.id, 1
    reason = f"start: version {source.id}" if source else "start: the bundle's own weights"
    session.add(Publication(experiment_id=experiment.id, seq=1, version_id=version.id, by=actor, reason=reason))
