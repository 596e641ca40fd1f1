"""What a scoring method says of an image, kept while it is true: of the published version, and of an open image."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from configs.specs.score import ScoringMethod
from configs.wire.host import ScoredBy
from infra.adapters.catalog.tables import Candidate, Experiment, Features, Image, ModelVersion
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import insert
from infra.wiring import Parts
from tasks.selection.unspoken import is_unspoken

_STORED = np.dtype("<f2")


class Scored(NamedTuple):
    """How many images got a score; `gave_way`: not all did, for a round waits."""

    images: int = 0
    gave_way: bool = False


def keep_score(
    session: Session,
    version_id: str,
    image_id: int,
    method: ScoringMethod,
    score: float | None,
    *,
    by: ScoredBy = "",
    features: Sequence[float] = (),
) -> bool:
    """Keep an image's score in place of an older one; False if its version is no longer the published one.

    A score of an image that was labelled, leased or skipped meanwhile is left out, but its features are kept: others
    are ordered beside it. Without a score it comes at random, neither first nor last, until it is ordered.
    """
    experiment = session.scalar(
        select(Experiment)
        .join(ModelVersion, ModelVersion.experiment_id == Experiment.id)
        .where(ModelVersion.id == version_id, Experiment.published_version == version_id)
    )
    if experiment is None:
        return False
    image = session.get(Image, image_id)
    if image is None:
        return True
    mine = {"experiment_id": experiment.id, "image_id": image_id, "method": method}
    here: dict[str, Any] = {"dataset_id": image.dataset_id, "version_id": version_id}
    if features:
        told = {**here, "vector": packed(features), "ordered": False}
        seen = insert(session, Features).values(**mine, **told)
        key = [Features.experiment_id, Features.image_id, Features.method]
        session.execute(seen.on_conflict_do_update(index_elements=key, set_=told))
    if image.open or is_unspoken(session, image, experiment):
        values = {**here, "score": image.shuffle if score is None else score, "by": by, "at": now()}
        row = insert(session, Candidate).values(**mine, **values)
        key = [Candidate.experiment_id, Candidate.image_id, Candidate.method]
        session.execute(row.on_conflict_do_update(index_elements=key, set_=values))
    return True


def packed(features: Sequence[float]) -> bytes:
    """Return features as they are kept: half precision is finer than what tells images apart, and half the size."""
    return np.asarray(features, dtype=_STORED).tobytes()


def unpacked(rows: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the features of images, shape (image, feature)."""
    return np.frombuffer(b"".join(rows), dtype=_STORED).reshape(len(rows), -1).astype(np.float32)


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
