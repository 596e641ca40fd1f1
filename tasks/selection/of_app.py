"""Order images by a strategy of an experiment's app: what it would choose, one after the other, becomes scores.

One that says `per_request` is asked when somebody wants an image instead.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from threading import Event, Thread, Timer

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from configs.errors import HostError, TeachbackError
from configs.specs.score import OF_APP, ScoringMethod, Strategy
from configs.wire.apps import AppOrderRequest, AskFile, Chosen, ListImages, SayOfImage
from configs.wire.host import Failed
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Candidate, Experiment, Image
from infra.adapters.compute.base import BundleHost
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.devices.asking import work_folder
from tasks.devices.hold import computing
from tasks.devices.needs import batch_need
from tasks.rounds.jobs.turns import round_waits
from tasks.selection.app_store import AppStore
from tasks.selection.scores import Scored

_log = logging.getLogger(__name__)
MOST = 64
"""Images that a strategy chooses: more than anybody labels before the next refresh. The others come at random."""
_LOOK_S = 1.0
# Each has the memory of an app; who finds no place in time is given any image.
_PLACES = ThreadPoolExecutor(2, thread_name_prefix="strategy")


def order_by_app(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod) -> Scored:
    """Run an app's scoring methods and keep what its strategy then chooses, or run the one method of this name.

    Safe to call at any time and to kill at any time: an order is kept as a whole. It ends early when a round waits:
    what the app said of images is kept, so that the next run goes on.

    Returns:
        How many images were chosen.

    Raises:
        HostError: If the app's code fails.
        InvalidRequestError: If the app has nothing of this name.
    """
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
    if experiment.published_version is None:
        return Scored()
    bundle = bundle_folder(parts, experiment.bundle_id)
    request = AppOrderRequest(bundle=str(bundle), name=method.removeprefix(OF_APP), most=MOST)
    need = batch_need(parts, experiment.bundle_id, None)
    with work_folder(parts, "app-order") as work:
        store = AppStore(parts, experiment, dataset_id, work / "shown")
        with computing(
            parts, request, need, holder=work.name, work=work / "host", bundle=bundle, readable=[store.shown]
        ) as host:
            chosen = _order(parts, host, store)
    if chosen is None:
        return Scored(gave_way=True)
    kept = partial(_keep, experiment=experiment, dataset_id=dataset_id, method=method, chosen=chosen)
    return Scored(parts.catalog.unit(kept))


def choose_now(parts: Parts, experiment_id: str, dataset_id: str, strategy: Strategy) -> str | None:
    """Ask an app's strategy for the next image while somebody waits for it.

    Its time begins here: a host that is long in starting, or an image long in coming, is not waited for.

    Returns:
        The image's id; None if it chose none, failed, or had not answered when its time was over.
    """
    limit_s = parts.settings.strategy_s
    asked = _PLACES.submit(_ask, parts, experiment_id, dataset_id, strategy, time.monotonic() + limit_s)
    try:
        return asked.result(limit_s)
    except TimeoutError:
        asked.cancel()  # else it ends by itself
        why = "its time was over"
    except TeachbackError as error:
        why = str(error)
    except OSError as error:  # its text would name a path
        why = type(error).__name__
    _log.warning("experiment %s: its app's strategy did not choose: %s", experiment_id, why)
    return None


def _ask(parts: Parts, experiment_id: str, dataset_id: str, strategy: Strategy, until: float) -> str | None:
    """Return what a strategy chooses; its host is killed at *until*, of the monotonic clock."""
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
    bundle = bundle_folder(parts, experiment.bundle_id)
    request = AppOrderRequest(bundle=str(bundle), name=strategy.removeprefix(OF_APP), most=1, now=True)
    with work_folder(parts, "app-choose") as work:
        store = AppStore(parts, experiment, dataset_id, work / "shown")
        with parts.hosts.start(request, work=work / "host", bundle=bundle, readable=[store.shown], threads=1) as host:
            late = Timer(max(0.0, until - time.monotonic()), host.kill)
            late.start()
            try:
                return next(_chosen(host, store), None)
            finally:
                late.cancel()


def _order(parts: Parts, host: BundleHost, store: AppStore) -> list[str] | None:
    """Return what is chosen, each image once; None if a round waits, for which the host is killed."""
    with _watched(parts, host) as gave_way:
        try:
            chosen = list(dict.fromkeys(islice(_chosen(host, store), MOST)))
        except HostError:  # it may be killed in the middle of a word
            if not gave_way.is_set():
                raise
    return None if gave_way.is_set() else chosen


@contextmanager
def _watched(parts: Parts, host: BundleHost) -> Iterator[Event]:
    """Kill the host when a round waits while the block runs; the event says so."""
    ended, gave_way = Event(), Event()

    def watch() -> None:
        """Look once a second."""
        while not ended.wait(_LOOK_S):
            with suppress(SQLAlchemyError), parts.catalog.read() as session:
                if round_waits(session):
                    gave_way.set()
                    break
        if gave_way.is_set():
            host.kill()

    watching = Thread(target=watch, name="app-gives-way", daemon=True)
    watching.start()
    try:
        yield gave_way
    finally:
        ended.set()
        watching.join()


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
    # Two runs at once would both find the last order, and one of them the other's.
    session.execute(lock(session, select(Experiment.id).where(Experiment.id == experiment.id)))
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
