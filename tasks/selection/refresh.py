"""Score unlabelled images with the published model, so that strategies that read scores order by it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.score import ScoringMethod
from configs.states import JobStatus
from configs.wire.host import Case, Failed, ImageScore, ScoreRequest
from infra.adapters.cache.disk import Pin
from infra.adapters.catalog.tables import Bundle, Candidate, Experiment, Image, Job, ModelVersion
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.images.stores import image_of, store_of

MOST = 64


def refresh_scores(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod = "entropy") -> int:
    """Score the next images in order of use that the published version has not scored; return how many.

    The cost of one call is bounded, and it ends early when a round waits: that one needs our place in the work pool,
    and scores anew when it is done. Images without a score are ordered at random behind the scored ones.

    Raises:
        HostError: If the bundle fails.
        StoreError: If the store cannot be read.
    """
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
        version = session.get(ModelVersion, experiment.published_version or "")
        bundle = bundle_folder(parts, session.get_one(Bundle, experiment.bundle_id).id)
        images = [] if _round_waits(session) else _unscored(session, experiment, dataset_id, method)
    if version is None or not images:
        return 0
    scored = 0
    with parts.cache.pin() as pin:
        cases = _cases(parts, dataset_id, images, pin)
        if not cases:
            return 0
        request = ScoreRequest(
            bundle=str(bundle),
            images=cases,
            labels={int(index): name for index, name in experiment.labels.items()},
            weights=str(parts.blobs.path(version.weights)) if version.weights else None,
            method=method,
        )
        work = parts.settings.home / "work" / f"score-{new_id()}"
        with _removed_after(work), parts.hosts.start(request, work=work, bundle=bundle) as host:
            for message in host.messages():
                if isinstance(message, Failed):
                    break
                if not isinstance(message, ImageScore):
                    continue
                if not _keep(parts, experiment, dataset_id, version.id, method, message):
                    break  # what is published by then, or after the round that waits, is scored by its own refresh
                scored += 1
    return scored


@contextmanager
def _removed_after(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _round_waits(session: Session) -> bool:
    """Say whether any experiment's round waits: scoring holds the place in the work pool that it needs."""
    waiting = exists().where(Job.action == "train", Job.status == JobStatus.PENDING)
    return bool(session.scalar(select(waiting)))


def _unscored(session: Session, experiment: Experiment, dataset_id: str, method: str) -> list[Image]:
    current = exists().where(
        Candidate.image_id == Image.id,
        Candidate.experiment_id == experiment.id,
        Candidate.method == method,
        Candidate.version_id == experiment.published_version,
    )
    query = select(Image).where(Image.dataset_id == dataset_id, Image.open.is_(True), ~current)
    return list(session.scalars(query.order_by(Image.shuffle).limit(MOST)))


def _cases(parts: Parts, dataset_id: str, images: list[Image], pin: Pin) -> list[Case]:
    store, cases = store_of(parts, dataset_id), []
    for image in images:
        try:
            local = image_of(parts, store, image, pin)
        except (NotFoundError, InvalidRequestError):
            continue  # the next listing of the store says so; it only goes unscored here
        cases.append(Case(id=str(image.id), image=[str(local.path)]))
    return cases


def _keep(parts: Parts, experiment: Experiment, dataset_id: str, version: str, method: str, scored: ImageScore) -> bool:
    """Write one score unless a newer version is out or the image was labelled meanwhile; say whether to go on."""
    image_id = int(scored.image)
    with parts.catalog.write() as session:
        newer = session.get_one(Experiment, experiment.id).published_version != version
        if newer or _round_waits(session):
            return False
        if not session.get_one(Image, image_id).open:
            return True
        session.execute(
            delete(Candidate).where(
                Candidate.experiment_id == experiment.id, Candidate.image_id == image_id, Candidate.method == method
            )
        )
        session.add(
            Candidate(
                experiment_id=experiment.id,
                image_id=image_id,
                method=method,
                dataset_id=dataset_id,
                score=scored.score,
                version_id=version,
            )
        )
    return True
