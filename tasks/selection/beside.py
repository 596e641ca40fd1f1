"""Order images beside each other, by methods whose score of one image depends on others: the order becomes scores."""

from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, bindparam, exists, select, update
from sqlalchemy.orm import Session

from configs.errors import BundleError, HostDiedError
from configs.specs.annotation import AnnotationSpec
from configs.specs.score import ScoringMethod
from configs.states import JobStatus
from configs.wire.order import Ordered, OrderRequest
from infra.adapters.catalog.tables import Candidate, Experiment, Features, Image, Job
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.devices.asking import answers, work_folder
from tasks.devices.claims import Need
from tasks.devices.needs import CONTEXT_MIB
from tasks.selection.scores import unpacked
from tasks.selection.unspoken import is_free_for

ROUNDS = 10
"""How many rounds an annotation is taken to have that says nothing of its end."""
AT_ONCE = 2000
_PLACE = (
    update(Candidate)
    .where(
        Candidate.experiment_id == bindparam("of"),
        Candidate.method == bindparam("by_method"),
        Candidate.version_id == bindparam("version"),
        Candidate.image_id == bindparam("image"),
    )
    .values(score=bindparam("place"))
    .execution_options(synchronize_session=False)
)
_ORDERED = (
    update(Features)
    .where(
        Features.experiment_id == bindparam("of"),
        Features.method == bindparam("by_method"),
        Features.version_id == bindparam("version"),
        Features.image_id == bindparam("image"),
    )
    .values(ordered=True)
    .execution_options(synchronize_session=False)
)


class Told(NamedTuple):
    """What scoring told of images that are to be ordered beside each other.

    `features` is (image, feature); `taken` says which are labelled or given; `progress` of the annotation, 0..1.
    """

    method: ScoringMethod
    features: NDArray[np.float32]
    taken: NDArray[np.bool_]
    progress: float
    seed: int


def is_unordered(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod) -> bool:
    """Say whether an image of a data set that the published version has scored by this method is not ordered yet."""
    with parts.catalog.read() as session:
        mine = _of(session.get_one(Experiment, experiment_id), dataset_id, method)
        return session.scalar(select(exists().where(mine, Features.ordered.is_(False)))) is True


def order_beside(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod) -> int:
    """Order the images of a data set that the published version has scored by this method.

    Safe to call at any time and to kill at any time: places that were written are those of a whole order.

    Returns:
        How many images got a place.

    Raises:
        HostError: If the method fails.
    """
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
        mine = _of(experiment, dataset_id, method)
        free = is_free_for(session, dataset_id, experiment)
        query = select(Image.id, Features.vector, free).join(Features, Features.image_id == Image.id)
        # What was skipped is nowhere near what was labelled.
        rows = session.execute(query.where(mine, Image.skipped_reason == "").order_by(Image.id)).tuples().all()
        bundle, progress = bundle_folder(parts, experiment.bundle_id), _progress(session, experiment_id)
        version = experiment.published_version or ""
    taken = np.array([not is_free for _, _, is_free in rows], dtype=bool)
    told = Told(method, unpacked([vector for _, vector, _ in rows]), taken, progress, crc32(version.encode()))
    scores = order(parts, bundle, told)
    places = [(image, float(score)) for (image, _, is_free), score in zip(rows, scores, strict=True) if is_free]
    what = {"of": experiment_id, "by_method": method, "version": version}
    for start in range(0, len(places), AT_ONCE):
        share = [{**what, "image": image, "place": score} for image, score in places[start : start + AT_ONCE]]
        parts.catalog.unit(partial(_write, rows=share))
    parts.catalog.unit(partial(_note, rows=[{**what, "image": image} for image, _, _ in rows]))
    return len(places)


def order(parts: Parts, bundle: Path, told: Told) -> NDArray[np.float32]:
    """Have a bundle host order images; return a score for each, larger = label it sooner.

    Raises:
        BundleError: If what it answers is no score per image.
        HostError: If the method fails.
    """
    with work_folder(parts, "order") as work:
        np.savez(work / "told.npz", features=told.features, taken=told.taken)
        request = OrderRequest(
            method=told.method,
            features=str(work / "told.npz"),
            progress=told.progress,
            seed=told.seed,
            out=str(work / "host" / "out"),
        )
        for message in answers(parts, request, Need("batch", CONTEXT_MIB), work=work, bundle=bundle):
            if isinstance(message, Ordered):
                scores = np.load(message.path, allow_pickle=False)
                if scores.shape != told.taken.shape or not np.isfinite(scores).all():
                    raise BundleError(f"The scoring method {told.method!r} did not answer a number for each image")
                return np.asarray(scores, dtype=np.float32)
    raise HostDiedError("Ordering ended without a result.")


def _of(experiment: Experiment, dataset_id: str, method: ScoringMethod) -> ColumnElement[bool]:
    return and_(
        Features.experiment_id == experiment.id,
        Features.dataset_id == dataset_id,
        Features.method == method,
        Features.version_id == experiment.published_version,
    )


def _progress(session: Session, experiment_id: str) -> float:
    """Return which share of the annotation's rounds is done."""
    mine = and_(Job.experiment_id == experiment_id, Job.action == "annotation", Job.status == JobStatus.RUNNING)
    loop = session.scalar(select(Job).where(mine).order_by(Job.created_at.desc()).limit(1))
    if loop is None:
        return 0.0
    planned = AnnotationSpec.model_validate(loop.spec).stop_criteria.max_rounds or ROUNDS
    return min(1.0, loop.rounds_done / planned)


def _write(session: Session, rows: list[dict[str, object]]) -> None:
    session.connection().execute(_PLACE, rows)


def _note(session: Session, rows: list[dict[str, object]]) -> None:
    session.connection().execute(_ORDERED, rows)
