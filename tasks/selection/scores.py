"""What a scoring method says of an image, kept while it is true: of the published version, and of an open image."""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from configs.specs.score import ScoringMethod
from configs.wire.host import ScoredBy
from infra.adapters.catalog.tables import Candidate, Experiment, Image, ModelVersion
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import insert
from infra.wiring import Parts
from tasks.selection.unspoken import is_unspoken


def keep_score(
    session: Session, version_id: str, image_id: int, method: ScoringMethod, score: float, *, by: ScoredBy = ""
) -> bool:
    """Keep an image's score in place of an older one; False if its version is no longer the published one.

    A score of an image that was labelled, leased or skipped meanwhile is left out.
    """
    experiment = session.scalar(
        select(Experiment)
        .join(ModelVersion, ModelVersion.experiment_id == Experiment.id)
        .where(ModelVersion.id == version_id, Experiment.published_version == version_id)
    )
    if experiment is None:
        return False
    image = session.get(Image, image_id)
    if image is None or not (image.open or is_unspoken(session, image, experiment)):
        return True
    values = {"dataset_id": image.dataset_id, "score": score, "by": by, "version_id": version_id, "at": now()}
    row = insert(session, Candidate).values(experiment_id=experiment.id, image_id=image_id, method=method, **values)
    key = [Candidate.experiment_id, Candidate.image_id, Candidate.method]
    session.execute(row.on_conflict_do_update(index_elements=key, set_=values))
    return True


def keep_entropy(parts: Parts, version_id: str, image_id: int, score: float) -> None:
    """Keep the uncertainty that came with a prediction: a score that cost nothing.

    Raises:
        SQLAlchemyError: If the catalog does not answer.
    """
    with parts.catalog.read() as session:
        known = exists().where(
            Candidate.image_id == image_id, Candidate.method == "entropy", Candidate.version_id == version_id
        )
        if session.scalar(select(known)):
            return
    with parts.catalog.write() as session:
        keep_score(session, version_id, image_id, "entropy", score)
