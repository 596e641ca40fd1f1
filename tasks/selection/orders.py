"""In which order images are given: queries that go down an index, first choice first."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

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
    PatientSide,
    Unspoken,
    Vocabulary,
)
from tasks.labels.choose import asked_by, names_of, speaks

EVALUATION_TURN = 5
AT_ONCE = 20
NEWEST = 200


class Order(NamedTuple):
    """Queries for images that are free for all, and for those labelled in other names, each in the same order.

    `rank` says which of two images is first in it.
    """

    open: Select[tuple[Image]]
    unspoken: Select[tuple[Image]] | None = None
    rank: Callable[[Image], Any] = lambda image: image.shuffle


def orders(
    session: Session,
    dataset_id: str,
    experiment: Experiment | None,
    strategy: Strategy | None,
    turn: int,
    vocabulary: Vocabulary | None,
) -> Iterator[Order]:
    """Yield the orders to try, first choice first.

    `turn`: how many images the experiment will have had served with this one.
    """
    due = turn % EVALUATION_TURN == 0
    if due and experiment is not None and _wants_evaluation(session, dataset_id, experiment):
        fit = (Image.held_out.is_(True), ~_trains(experiment))
        other = _unspoken(vocabulary, Unspoken.shuffle)
        yield Order(
            _free(dataset_id).where(*fit).order_by(Image.shuffle),
            other.where(*fit, Unspoken.held_out.is_(True)) if other is not None else None,
        )
    chosen = strategy or (experiment.strategy if experiment is not None else "random")
    if chosen in SCORED and experiment is not None:
        yield Order(scored(dataset_id, experiment, chosen, vocabulary))
    if chosen == "first":
        yield Order(_free(dataset_id).order_by(Image.key), _unspoken(vocabulary, Unspoken.key), lambda one: one.key)
    yield Order(_free(dataset_id).order_by(Image.shuffle), _unspoken(vocabulary, Unspoken.shuffle))


def _free(dataset_id: str) -> Select[tuple[Image]]:
    return select(Image).where(Image.dataset_id == dataset_id, Image.open.is_(True))


def _unspoken(vocabulary: Vocabulary | None, order: InstrumentedAttribute[Any]) -> Select[tuple[Image]] | None:
    """Return the query for images that are labelled in other names; None where nobody asks in these."""
    if vocabulary is None:
        return None
    query = select(Image).join(Unspoken, Unspoken.image_id == Image.id)
    return query.where(Unspoken.vocabulary_id == vocabulary.id).order_by(order)


def scored(dataset_id: str, experiment: Experiment, method: str, vocabulary: Vocabulary | None) -> Select[tuple[Image]]:
    """Return the query for an experiment's free images with a score, the highest first."""
    mine = and_(Candidate.experiment_id == experiment.id, Candidate.dataset_id == dataset_id)
    query = select(Image).join(Candidate, Candidate.image_id == Image.id).where(mine, Candidate.method == method)
    other = vocabulary.id if vocabulary is not None else None
    unspoken = exists().where(Unspoken.vocabulary_id == other, Unspoken.image_id == Image.id)
    return query.where(or_(Image.open.is_(True), unspoken)).order_by(Candidate.score.desc(), Candidate.image_id.desc())


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
    wanted, names = _gate_cases(session, experiment), asked_by(experiment.labels)
    # Of the newest labels alone: no count over all, though most may be in another experiment's names.
    newest = (
        select(Label.image_id, Label.annotated, Label.names)
        .where(Label.dataset_id == dataset_id, Label.state == LabelState.ACTIVE, Label.unedited.is_(False))
        .order_by(Label.seq.desc())
        .limit(NEWEST)
        .subquery()
    )
    query = (
        select(newest.c.annotated, newest.c.names)
        .join(Image, Image.id == newest.c.image_id)
        .where(Image.held_out.is_(True), ~_trains(experiment))
    )
    labelled = 0
    with session.execute(query.execution_options(yield_per=AT_ONCE)) as rows:
        for annotated, said in rows.tuples():
            labelled += speaks(names_of(annotated, said), names)
            if labelled >= wanted:
                return False
    return True
