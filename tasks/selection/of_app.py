"""Order images by a strategy of an experiment's app: what it would choose, one after the other, becomes scores.

One that says `per_request` is asked when somebody wants an image instead.
"""

import logging
from collections.abc import Iterator
from functools import partial
from threading import Timer

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from configs.errors import TeachbackError
from configs.specs.score import OF_APP, ScoringMethod, Strategy
from configs.wire.apps import AppOrderRequest, AskFile, Chosen, ListImages, SayOfImage
from configs.wire.host import Failed
from infra.adapters.catalog.tables import Candidate, Experiment, Image
from infra.adapters.compute.base import BundleHost
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.devices.asking import work_folder
from tasks.devices.hold import computing
from tasks.devices.needs import batch_need
from tasks.selection.app_store import AppStore

_log = logging.getLogger(__name__)
MOST = 64
"""Images that a strategy chooses: more than anybody labels before the next refresh. The others come at random."""


def order_by_app(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod) -> int:
    """Run an app's scoring methods and keep what its strategy then chooses, or run the one method of this name.

    Safe to call at any time and to kill at any time: an order is kept as a whole.

    Returns:
        How many images were chosen.

    Raises:
        HostError: If the app's code fails.
        InvalidRequestError: If the app has nothing of this name.
    """
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
    if experiment.published_version is None:
        return 0
    bundle = bundle_folder(parts, experiment.bundle_id)
    request = AppOrderRequest(bundle=str(bundle), name=method.removeprefix(OF_APP), most=MOST)
    need = batch_need(parts, experiment.bundle_id, None)
    with work_folder(parts, "app-order") as work:
        store = AppStore(parts, experiment, dataset_id, work / "shown")
        with computing(
            parts, request, need, holder=work.name, work=work / "host", bundle=bundle, readable=[store.shown]
        ) as host:
            chosen = list(_chosen(host, store))
    return parts.catalog.unit(
        partial(_keep, experiment=experiment, dataset_id=dataset_id, method=method, chosen=chosen)
    )


def choose_now(parts: Parts, experiment_id: str, dataset_id: str, strategy: Strategy) -> str | None:
    """Ask an app's strategy for the next image while somebody waits for it.

    Returns:
        The image's id; None if it chose none, failed, or had not answered when its time was over.
    """
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
    bundle = bundle_folder(parts, experiment.bundle_id)
    request = AppOrderRequest(bundle=str(bundle), name=strategy.removeprefix(OF_APP), most=1, now=True)
    try:
        with work_folder(parts, "app-choose") as work:
            store = AppStore(parts, experiment, dataset_id, work / "shown")
            with parts.hosts.start(
                request, work=work / "host", bundle=bundle, readable=[store.shown], threads=1
            ) as host:
                late = Timer(parts.settings.strategy_s, host.kill)
                late.start()
                try:
                    return next(_chosen(host, store), None)
                finally:
                    late.cancel()
    except TeachbackError as error:
        _log.warning("experiment %s: its app's strategy did not choose: %s", experiment.id, error)
        return None


def _chosen(host: BundleHost, store: AppStore) -> Iterator[str]:
    """Yield what is chosen, and answer what is asked meanwhile."""
    for message in host.messages():
        match message:
            case Failed():
                raise error_of(message)
            case ListImages() | AskFile() | SayOfImage():
                host.send(store.answer(message))
            case Chosen():
                yield message.image


def _keep(session: Session, *, experiment: Experiment, dataset_id: str, method: str, chosen: list[str]) -> int:
    """Write an order in place of the last one."""
    mine = {"experiment_id": experiment.id, "dataset_id": dataset_id, "method": method}
    session.execute(delete(Candidate).filter_by(**mine))
    query = select(Image.key, Image.id).where(Image.dataset_id == dataset_id, Image.key.in_(chosen))
    ids = dict(session.execute(query).tuples().all())
    places = [ids[key] for key in chosen if key in ids]
    rows = [
        {**mine, "version_id": experiment.published_version, "image_id": image, "score": 1 - place / len(places)}
        for place, image in enumerate(places)
    ]
    if rows:
        session.execute(insert(Candidate), rows)
    return len(rows)
