"""Which image to label next, and nobody else's.

Every look-up is one step down an index: the number of images does not matter. An image is taken by inserting its
lease; where two annotators meet the same one, one insert wins and the other goes on to the next candidate.

Free are the images of which nothing is said at all, and those of which nothing is said in the experiment's names
(`unspoken`): two look-ups in the same order, of which the first in that order is given.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, bindparam, exists, select, update
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from configs.specs.score import Strategy, is_of_app
from configs.states import JobStatus
from infra.adapters.catalog import direct
from infra.adapters.catalog.tables import Bundle, Experiment, Image, Job, Label, Lease
from tasks.bundles.orders import check_strategy, is_per_request
from tasks.labels.choosing.choose import OCCUPIES, speaks
from tasks.selection.back import take_back
from tasks.selection.leases import LEASE_S, keep_newest, reclaim, take
from tasks.selection.orders import Asked, Order, asked, orders
from tasks.selection.said import ANY, annotators_of, said_of
from tasks.selection.unspoken import ask_in, look_back, vocabulary_of

# Others may take what this one is about to: behind twenty the next order is asked.
TRIES = 20
SHARE_WHEN_OUT = 1000
_ANNOTATED = (
    select(Experiment)
    .join(Job, Job.experiment_id == Experiment.id)
    .where(Job.dataset_id == bindparam("dataset"), Job.action == "annotation", Job.status == JobStatus.RUNNING)
    .order_by(Job.created_at.desc())
    .limit(1)
)
_SERVED = update(Experiment).where(Experiment.id == bindparam("experiment")).values(served=Experiment.served + 1)


class AsksAppError(Exception):
    """The next image is what an app's strategy says now: ask it, outside of the unit, and come with its choice."""

    def __init__(self, experiment_id: str, strategy: Strategy) -> None:
        self.experiment_id, self.strategy = experiment_id, strategy
        super().__init__(strategy)


@dataclass(frozen=True)
class Choice:
    """What an app's strategy chose, by its id; None = nothing, so that any image is given."""

    image: str | None


def next_image(
    session: Session,
    dataset_id: str,
    *,
    holder: str,
    experiment_id: str | None = None,
    strategy: Strategy | None = None,
    lease_s: float = LEASE_S,
    max_leases: int = 50,
    choice: Choice | None = None,
) -> Image:
    """Lease the next image to label to an annotator and return it.

    Until the gate's `min_cases` evaluation images are labelled, every fifth image is one of those.

    Args:
        session: A unit.
        dataset_id: Where to look.
        holder: The annotator. Asking again gives another image and keeps earlier leases.
        experiment_id: For whom; default the newest with a running loop on this data set, else nobody. An image that
            is labelled in other names than the experiment's is free for it.
        strategy: How to order; default the experiment's, `random` without one.
        lease_s: Seconds for which nobody else gets the image.
        max_leases: Of this holder; who asks for more gives back the images that they touched longest ago.
        choice: Of the app that was asked for it.

    Raises:
        NotFoundError: If every image is labelled, skipped or leased.
        InvalidRequestError: If the experiment's app has no strategy of this name.
        AsksAppError: If the app's strategy has to be asked first.
    """
    experiment = _experiment(session, dataset_id, experiment_id)
    vocabulary = ask_in(session, dataset_id, experiment)
    reclaim(session, dataset_id, lease_s)
    back = take_back(session, dataset_id, holder, lease_s)
    if back is not None:
        return back
    order_by = _settled(session, experiment, strategy, choice)
    annotators = annotators_of(session, dataset_id)
    names = frozenset[str](vocabulary.names) if vocabulary is not None else ANY
    values = asked(dataset_id, experiment, order_by, vocabulary, choice.image if choice is not None else None)
    turn = experiment.served + 1 if experiment is not None else 1
    more = vocabulary is not None and look_back(session, vocabulary, annotators)
    while True:
        for order in orders(session, experiment, turn, values):
            for _ in range(TRIES):
                image = _first(session, order, values, holder, annotators, names)
                if image is None:
                    break
                if take(session, image, holder, lease_s, annotators, names):
                    if experiment is not None:
                        direct.run(session, _SERVED, {"experiment": experiment.id})
                    keep_newest(session, dataset_id, holder, max_leases)
                    return image
        if not more or vocabulary is None:
            raise NotFoundError("unlabelled image", dataset_id)
        more = look_back(session, vocabulary, annotators, SHARE_WHEN_OUT)


def _settled(
    session: Session, experiment: Experiment | None, strategy: Strategy | None, choice: Choice | None
) -> Strategy | None:
    """Return by what to order, where an app's strategy is concerned: known to the app, and asked if it has to be."""
    wanted = strategy or (experiment.strategy if experiment is not None else "")
    if not is_of_app(wanted):
        return strategy
    if choice is not None:
        return "random"
    bundle = session.get_one(Bundle, experiment.bundle_id) if experiment is not None else None
    check_strategy(bundle, wanted)
    if experiment is not None and _is_asked_now(session, experiment, wanted):
        raise AsksAppError(experiment.id, wanted)
    return strategy


def _is_asked_now(session: Session, experiment: Experiment | None, wanted: str) -> bool:
    """Say whether this is a strategy of the experiment's app that is asked for each image."""
    if experiment is None or not is_of_app(wanted):
        return False
    return is_per_request(session.get_one(Bundle, experiment.bundle_id), wanted)


def _first(
    session: Session, order: Order, values: Asked, holder: str, annotators: int, names: frozenset[str]
) -> Image | None:
    """Return the first image of an order that this annotator has not labelled or leased."""
    found = []
    for query in _queries(order, values):
        if annotators == 1:
            image = session.scalar(query, values)
        elif query is order.unspoken:
            image = _unlabelled_by(session, query.where(~_leased_by(holder)), values, holder, names)
        else:
            image = session.scalar(query.where(~_leased_by(holder), ~_labelled_by(holder)), values)
        found += [image] if image is not None else []
    return order.first(found)


def _queries(order: Order, values: Asked) -> list[Select[tuple[Image]]]:
    other = order.unspoken if values["vocabulary"] is not None else None
    return [order.open, other] if other is not None else [order.open]


def _leased_by(holder: str) -> ColumnElement[bool]:
    return exists().where(Lease.dataset_id == Image.dataset_id, Lease.image_id == Image.id, Lease.holder == holder)


def _labelled_by(holder: str) -> ColumnElement[bool]:
    return exists().where(Label.image_id == Image.id, Label.author == holder, Label.state.in_(OCCUPIES))


def _unlabelled_by(
    session: Session, query: Select[tuple[Image]], values: Asked, holder: str, names: frozenset[str]
) -> Image | None:
    """Return the first image of which this annotator has said nothing in these names."""
    with session.scalars(query.limit(None).execution_options(yield_per=TRIES), values) as rows:
        for images in rows.partitions():
            said = said_of(session, [image.id for image in images])
            for image in images:
                if not any(label.author == holder and speaks(label.names, names) for label in said[image.id]):
                    return image
    return None


def upcoming(
    session: Session,
    dataset_id: str,
    *,
    count: int,
    experiment_id: str | None = None,
    strategy: Strategy | None = None,
) -> list[Image]:
    """Return the images that the same requests would be given next if nobody else asked, without a lease.

    None where an app's strategy is asked for each: only it can tell.
    """
    experiment = _experiment(session, dataset_id, experiment_id)
    if _is_asked_now(session, experiment, strategy or (experiment.strategy if experiment is not None else "")):
        return []
    vocabulary = vocabulary_of(session, dataset_id, experiment)
    values = asked(dataset_id, experiment, strategy, vocabulary)
    served = experiment.served if experiment is not None else 0
    found: list[Image] = []
    for turn in range(1, count + 1):
        another = Image.id.not_in([image.id for image in found])
        for order in orders(session, experiment, served + turn, values):
            firsts = [session.scalar(query.where(another), values) for query in _queries(order, values)]
            image = order.first([one for one in firsts if one is not None])
            if image is not None:
                found.append(image)
                break
    return found


def _experiment(session: Session, dataset_id: str, experiment_id: str | None) -> Experiment | None:
    if experiment_id is not None:
        return session.get(Experiment, experiment_id)
    return session.scalar(_ANNOTATED, {"dataset": dataset_id})
