"""Which image to label next, and nobody else's.

Every look-up is one step down an index: the number of images does not matter. An image is taken by inserting its
lease; where two annotators meet the same one, one insert wins and the other goes on to the next candidate.
"""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from configs.specs.annotation import AnnotationSpec, GateSpec
from configs.specs.score import SCORED, Strategy
from configs.states import JobStatus, LabelState, Side
from infra.adapters.catalog.tables import (
    Candidate,
    Experiment,
    ExperimentDataset,
    Image,
    Job,
    Label,
    Lease,
    PatientSide,
)
from tasks.labels.choose import OCCUPIES
from tasks.selection.back import take_back
from tasks.selection.leases import LEASE_S, keep_newest, reclaim, take
from tasks.selection.room import annotators_of

EVALUATION_TURN = 5
TRIES = 20


def next_image(
    session: Session,
    dataset_id: str,
    *,
    holder: str,
    experiment_id: str | None = None,
    strategy: Strategy | None = None,
    lease_s: float = LEASE_S,
    max_leases: int = 50,
) -> Image:
    """Lease the next image to label to an annotator and return it.

    Until the gate's `min_cases` evaluation images are labelled, every fifth image is one of those.

    Args:
        session: A unit.
        dataset_id: Where to look.
        holder: The annotator. Asking again gives another image and keeps earlier leases.
        experiment_id: For whom; default the newest with a running loop on this data set, else nobody.
        strategy: How to order; default the experiment's, `random` without one.
        lease_s: Seconds for which nobody else gets the image.
        max_leases: Of this holder; who asks for more gives back the images that they touched longest ago.

    Raises:
        NotFoundError: If every image is labelled, skipped or leased.
    """
    reclaim(session, dataset_id, lease_s)
    back = take_back(session, dataset_id, holder, lease_s)
    if back is not None:
        return back
    experiment = _experiment(session, dataset_id, experiment_id)
    annotators = annotators_of(session, dataset_id)
    turn = experiment.served + 1 if experiment is not None else 1
    ordered = _orders(session, dataset_id, experiment, strategy, turn)
    for order in ordered:
        query = order if annotators == 1 else order.where(~_mine(holder))
        for _ in range(TRIES):
            image = session.scalar(query)
            if image is None:
                break
            if take(session, image, holder, lease_s, annotators):
                if experiment is not None:
                    experiment.served += 1
                keep_newest(session, dataset_id, holder, max_leases)
                return image
    raise NotFoundError("unlabelled image", dataset_id)


def _mine(holder: str) -> ColumnElement[bool]:
    """Whether somebody has labelled or leased an image already that waits for another person too."""
    labelled = exists().where(Label.image_id == Image.id, Label.author == holder, Label.state.in_(OCCUPIES))
    leased = exists().where(Lease.dataset_id == Image.dataset_id, Lease.image_id == Image.id, Lease.holder == holder)
    return or_(labelled, leased)


def upcoming(
    session: Session,
    dataset_id: str,
    *,
    count: int,
    experiment_id: str | None = None,
    strategy: Strategy | None = None,
) -> list[Image]:
    """Return the images that the same requests would be given next if nobody else asked, without a lease."""
    experiment = _experiment(session, dataset_id, experiment_id)
    served = experiment.served if experiment is not None else 0
    found: list[Image] = []
    for turn in range(1, count + 1):
        another = Image.id.not_in([image.id for image in found])
        for query in _orders(session, dataset_id, experiment, strategy, served + turn):
            image = session.scalar(query.where(another))
            if image is not None:
                found.append(image)
                break
    return found


def _experiment(session: Session, dataset_id: str, experiment_id: str | None) -> Experiment | None:
    if experiment_id is not None:
        return session.get(Experiment, experiment_id)
    query = (
        select(Experiment)
        .join(Job, Job.experiment_id == Experiment.id)
        .where(Job.dataset_id == dataset_id, Job.action == "annotation", Job.status == JobStatus.RUNNING)
        .order_by(Job.created_at.desc())
        .limit(1)
    )
    return session.scalar(query)


def _orders(
    session: Session,
    dataset_id: str,
    experiment: Experiment | None,
    strategy: Strategy | None,
    turn: int,
) -> Iterator[Select[tuple[Image]]]:
    """Yield the queries to try, first choice first; each gives one free image.

    `turn`: how many images the experiment will have had served with this one.
    """
    due = turn % EVALUATION_TURN == 0
    if due and experiment is not None and _wants_evaluation(session, dataset_id, experiment):
        yield _free(dataset_id).where(Image.held_out.is_(True), ~_trains(experiment)).order_by(Image.shuffle)
    chosen = strategy or (experiment.strategy if experiment is not None else "random")
    if chosen in SCORED and experiment is not None:
        scored = _free(dataset_id).join(Candidate, Candidate.image_id == Image.id)
        scored = scored.where(Candidate.experiment_id == experiment.id, Candidate.method == chosen)
        yield scored.order_by(Candidate.score.desc(), Image.id)
    if chosen == "first":
        yield _free(dataset_id).order_by(Image.key)
    yield _free(dataset_id).order_by(Image.shuffle)


def _free(dataset_id: str) -> Select[tuple[Image]]:
    return select(Image).where(Image.dataset_id == dataset_id, Image.open.is_(True)).limit(1)


def _trains(experiment: Experiment) -> ColumnElement[bool]:
    return exists().where(
        PatientSide.lineage == experiment.lineage,
        PatientSide.patient_key == Image.patient_key,
        PatientSide.side == Side.TRAIN,
    )


def _gate_cases(session: Session, experiment: Experiment) -> int:
    """Return how many evaluation cases the gate of the experiment's running loop asks for."""
    loop = select(Job.spec).where(
        Job.experiment_id == experiment.id, Job.action == "annotation", Job.status == JobStatus.RUNNING
    )
    spec = session.scalar(loop.limit(1))
    return (AnnotationSpec.model_validate(spec).gate if spec else GateSpec()).min_cases


def _wants_evaluation(session: Session, dataset_id: str, experiment: Experiment) -> bool:
    own = session.scalar(
        select(ExperimentDataset.dataset_id).where(
            ExperimentDataset.experiment_id == experiment.id, ExperimentDataset.use == "eval"
        )
    )
    if own not in (None, dataset_id):
        return False
    wanted = _gate_cases(session, experiment)
    # Bounded by `wanted`: no count over all labels.
    labelled = (
        select(Label.id)
        .join(Image, Image.id == Label.image_id)
        .where(
            Label.dataset_id == dataset_id,
            Label.state == LabelState.ACTIVE,
            Label.unedited.is_(False),
            Image.held_out.is_(True),
            ~_trains(experiment),
        )
        .limit(wanted)
    )
    return len(session.scalars(labelled).all()) < wanted
