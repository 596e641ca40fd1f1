"""Score unlabelled images with the published model, so that strategies that read scores order by it."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from sqlalchemy import select

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, UnreadableError
from configs.specs.score import ScoringMethod, is_of_app, is_of_labels, reads_scores
from configs.wire.apps import AppOrders
from configs.wire.host import Case, Failed, ImageScore, ScoreRequest
from infra.adapters.cache.disk import Pin
from infra.adapters.catalog.tables import Bundle, Experiment, ExperimentDataset, Image, ModelVersion
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.bundles.orders import orders_in
from tasks.devices.hold import computing
from tasks.devices.needs import batch_need
from tasks.images import poison
from tasks.images.stores import image_of, store_of
from tasks.publishing.usable import is_usable
from tasks.rounds.jobs.turns import round_waits
from tasks.selection import strided
from tasks.selection.ask import needs_no_model
from tasks.selection.beside import is_unordered, order_beside
from tasks.selection.of_app import order_by_app
from tasks.selection.of_labels import score_labels
from tasks.selection.scores import Scored, keep_score
from tasks.selection.skip import skip
from tasks.selection.unscored import Unscored

CHUNK = 64
# So many unreadable images are the store's fault or the bundle's, and not theirs.
MOST_LEFT_OUT = 1000
_End = Literal["", "gave way", "outdated"]
_GO_ON: _End = ""


def refresh_experiment(parts: Parts, experiment_id: str, method: ScoringMethod | None = None) -> int:
    """Score what the published version has not scored in every data set that the experiment's images come from.

    Safe to call at any time and to kill at any time: each score is kept as it comes, and the next call goes on.

    Args:
        parts: The adapters.
        experiment_id: The experiment.
        method: Default the one that its strategy reads; entropy where that reads none.

    Raises: as `refresh_scores`.
    """
    with parts.catalog.read() as session:
        uses = select(ExperimentDataset.dataset_id).where(
            ExperimentDataset.experiment_id == experiment_id, ExperimentDataset.use.in_(["train", "inference"])
        )
        found = session.scalars(uses.distinct()).all()
    return sum(refresh_scores(parts, experiment_id, dataset_id, method).images for dataset_id in sorted(found))


def refresh_scores(
    parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod | None = None, *, chunk: int = CHUNK
) -> Scored:
    """Score images in order of use that the published version has not scored, chunk by chunk.

    It ends early when a round waits, for that needs our place in the work pool and scores anew when it is done; and
    when another version is published, whose own refresh scores everything anew. Images without a score of any version
    are ordered at random behind the scored ones. A model that has not learnt the experiment's labels has nothing to say
    of them: its images are ordered by `diversity`.

    Raises:
        HostError: If the bundle fails.
        StoreError: If the store cannot be read.
    """
    if method is not None and is_of_labels(method):
        return score_labels(parts, experiment_id, dataset_id, method)
    unscored = _unscored(parts, experiment_id, dataset_id, method)
    if is_of_app(unscored.method):
        return order_by_app(parts, experiment_id, dataset_id, unscored.method)
    if unscored.method == strided.METHOD:
        return strided.place_strided(parts, experiment_id, dataset_id)
    scored = _score_rest(parts, unscored, chunk)
    if scored.gave_way or not is_unordered(parts, experiment_id, dataset_id, unscored.method):
        return scored
    if _round_waits(parts):
        return scored._replace(gave_way=True)
    order_beside(parts, experiment_id, dataset_id, unscored.method)
    return scored


def _score_rest(parts: Parts, unscored: Unscored, chunk: int) -> Scored:
    """Score what is left, chunk by chunk."""
    scored, left_out, orders = 0, set[int](), _app_orders(parts, unscored.experiment.id)
    most = (orders.epistemic_images if unscored.method == "epistemic" else 0) or sys.maxsize
    while len(left_out) < MOST_LEFT_OUT and scored < most:
        shard = _next_shard(parts, unscored, left_out, min(chunk, most - scored))
        if shard is None:
            break
        if _round_waits(parts):
            return Scored(scored, gave_way=True)
        done, end = _score(parts, shard, orders)
        scored += len(done)
        if end == "gave way":
            return Scored(scored, gave_way=True)
        if end == "outdated":
            break
        left_out.update({image.id for image in shard.images} - done)
    return Scored(scored)


def _round_waits(parts: Parts) -> bool:
    with parts.catalog.read() as session:
        return round_waits(session)


def _app_orders(parts: Parts, experiment_id: str) -> AppOrders:
    """Return what the experiment's app says of orders."""
    with parts.catalog.read() as session:
        return orders_in(session.get_one(Bundle, session.get_one(Experiment, experiment_id).bundle_id))


class _Shard(NamedTuple):
    """Some images, and what they are to be scored with."""

    experiment: Experiment
    version: ModelVersion
    bundle: Path
    dataset_id: str
    method: ScoringMethod
    images: list[Image]


def _unscored(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod | None) -> Unscored:
    """Return what is to be scored, and how: by a method that needs no trained model where there is none."""
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
        wanted = method or method_of(experiment)
        if not needs_no_model(wanted) and not is_usable(session, experiment):
            wanted = "diversity"
        return Unscored(experiment, dataset_id, wanted)


def _next_shard(parts: Parts, unscored: Unscored, left_out: set[int], chunk: int) -> _Shard | None:
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, unscored.experiment.id)
        version = session.get(ModelVersion, unscored.experiment.published_version or "")
        if version is None or experiment.published_version != version.id:
            return None
        images = unscored.take(session, chunk, left_out)
    if not images:
        return None
    bundle = bundle_folder(parts, version.bundle_id)
    return _Shard(experiment, version, bundle, unscored.dataset_id, unscored.method, images)


def method_of(experiment: Experiment) -> ScoringMethod:
    """Return the method whose scores the experiment's strategy reads; entropy where it reads none."""
    return experiment.strategy if reads_scores(experiment.strategy) else "entropy"


def _score(parts: Parts, shard: _Shard, orders: AppOrders) -> tuple[set[int], _End]:
    """Score one shard; return which images were, and why not to go on with the next."""
    scored, end, unread = set[int](), _GO_ON, dict[int, UnreadableError]()
    with parts.cache.pin() as pin:
        cases = _cases(parts, shard, pin)
        if not cases:
            return scored, _GO_ON
        request = ScoreRequest(
            bundle=str(shard.bundle),
            images=cases,
            labels={int(index): name for index, name in shard.experiment.labels.items()},
            weights=str(parts.blobs.path(shard.version.weights)) if shard.version.weights else None,
            method=shard.method,
            passes=orders.epistemic_passes,
        )
        work = parts.settings.home / "work" / f"score-{new_id()}"
        need = batch_need(parts, shard.version.bundle_id, shard.version.weights)
        with (
            _removed_after(work),
            computing(parts, request, need, holder=work.name, work=work, bundle=shard.bundle) as host,
        ):
            for message in host.messages():
                if isinstance(message, Failed) and message.id is None:
                    raise error_of(message)
                if isinstance(message, Failed) and isinstance(error := error_of(message), UnreadableError):
                    unread[int(message.id or 0)] = error
                if not isinstance(message, ImageScore):
                    continue
                end = _keep(parts, shard, message)
                if end != _GO_ON:
                    break
                scored.add(int(message.image))
    for image in shard.images:
        if image.id in unread:
            poison.unprepared(parts, image, unread[image.id], reads_others=bool(scored))
    return scored, end


@contextmanager
def _removed_after(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cases(parts: Parts, shard: _Shard, pin: Pin) -> list[Case]:
    store, cases = store_of(parts, shard.dataset_id), []
    for image in shard.images:
        try:
            local = image_of(parts, store, image, pin)
        except (NotFoundError, ConflictError):
            continue  # the next listing of the store says so; it only goes unscored here
        except InvalidRequestError as error:
            with parts.catalog.write() as session:
                skip(session, session.get_one(Image, image.id), str(error))
            continue
        cases.append(Case(id=str(image.id), image=[*map(str, local.files)]))
    return cases


def _keep(parts: Parts, shard: _Shard, scored: ImageScore) -> _End:
    """Write one score, unless a newer version is out, or a round waits."""
    with parts.catalog.write() as session:
        if round_waits(session):
            return "gave way"
        image, score = int(scored.image), scored.score
        kept = keep_score(session, shard.version.id, image, shard.method, score, by=scored.by, features=scored.features)
        return _GO_ON if kept else "outdated"
