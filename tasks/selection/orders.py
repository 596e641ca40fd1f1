"""In which order images are given: queries that go down an index, first choice first."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Select, bindparam, exists, or_, select
from sqlalchemy.orm import Session

from configs.specs.annotation import AnnotationSpec, GateSpec
from configs.specs.score import Strategy, reads_scores
from configs.states import JobStatus, LabelState, Side
from infra.adapters.catalog import direct
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
from tasks.labels.choosing.choose import asked_by, names_of, speaks

# As the share of patients that is held out.
EVALUATION_TURN = 5
AT_ONCE = 20
NEWEST = 200


class Order(NamedTuple):
    """Queries for the first image that is free for all, and for the first that is labelled in other names.

    Both in the same order: the first of several images is the one whose `rank` is least, or in a descending order most.
    """

    open: Select[tuple[Image]]
    unspoken: Select[tuple[Image]] | None = None
    rank: Callable[[Image], Any] = lambda image: image.shuffle
    descending: bool = False

    def first(self, images: Sequence[Image]) -> Image | None:
        """Return the first of these images; None of none."""
        return (max if self.descending else min)(images, key=self.rank, default=None)


class Asked(TypedDict):
    """What the queries of all orders are asked with."""

    dataset: str
    vocabulary: int | None
    experiment: str | None
    lineage: str | None
    method: str
    chosen: str | None


_OPEN = select(Image).where(Image.dataset_id == bindparam("dataset"), Image.open.is_(True)).limit(1)
_UNSPOKEN = (
    select(Image)
    .join(Unspoken, Unspoken.image_id == Image.id)
    .where(Unspoken.vocabulary_id == bindparam("vocabulary"))
    .limit(1)
)
_TRAINS = exists().where(
    PatientSide.lineage == bindparam("lineage"),
    PatientSide.patient_key == Image.patient_key,
    PatientSide.side == Side.TRAIN,
)
_EVALUATES = (Image.held_out.is_(True), ~_TRAINS)
# Built once: building costs more than asking.
_RANDOM = Order(_OPEN.order_by(Image.shuffle), _UNSPOKEN.order_by(Unspoken.shuffle))
_FIRST = Order(_OPEN.order_by(Image.key), _UNSPOKEN.order_by(Unspoken.key), lambda image: image.key)
_LAST = Order(
    _OPEN.order_by(Image.key.desc()), _UNSPOKEN.order_by(Unspoken.key.desc()), lambda image: image.key, descending=True
)
_CHOSEN = Order(_OPEN.where(Image.key == bindparam("chosen")), _UNSPOKEN.where(Unspoken.key == bindparam("chosen")))
_BY_NAME = {"first": _FIRST, "last": _LAST}
_TO_EVALUATE = Order(
    _OPEN.where(*_EVALUATES).order_by(Image.shuffle),
    _UNSPOKEN.where(*_EVALUATES, Unspoken.held_out.is_(True)).order_by(Unspoken.shuffle),
)
_CANDIDATES = (
    select(Image)
    .join(Candidate, Candidate.image_id == Image.id)
    .where(Candidate.experiment_id == bindparam("experiment"), Candidate.dataset_id == bindparam("dataset"))
)
_MOST = (Candidate.score.desc(), Candidate.image_id.desc())
_WITH_SCORES = _CANDIDATES.where(
    or_(
        Image.open.is_(True),
        exists().where(Unspoken.vocabulary_id == bindparam("vocabulary"), Unspoken.image_id == Image.id),
    )
).order_by(*_MOST)
_OF_LABELS = _CANDIDATES.where(Candidate.method == bindparam("method"))
SCORED_LABELS = (_OF_LABELS.order_by(*_MOST), _OF_LABELS.order_by(Candidate.score, Candidate.image_id))
"""An experiment's labelled images with a score by a method of labels, the highest first, and the lowest first."""
SCORED_IMAGES = _WITH_SCORES.where(Candidate.method == bindparam("method"))
"""An experiment's free images with a score by a method, the highest first; asked with `asked`."""
_SCORED = Order(SCORED_IMAGES.limit(1))
# While no model has learnt the labels there are no other scores than these.
_UNLIKE = Order(_WITH_SCORES.where(Candidate.method == "diversity").limit(1))
# Of the newest labels alone: no count over all, though most may be in another experiment's names.
_NEWEST = (
    select(Label.image_id, Label.annotated, Label.names)
    .where(Label.dataset_id == bindparam("dataset"), Label.state == LabelState.ACTIVE, Label.unedited.is_(False))
    .order_by(Label.seq.desc())
    .limit(NEWEST)
    .subquery()
)
_EVALUATING = (
    select(_NEWEST.c.annotated, _NEWEST.c.names)
    .join(Image, Image.id == _NEWEST.c.image_id)
    .where(*_EVALUATES)
    .execution_options(yield_per=AT_ONCE)
)
_OWN = select(ExperimentDataset.dataset_id).where(
    ExperimentDataset.experiment_id == bindparam("experiment"), ExperimentDataset.use == "eval"
)
_LOOP = (
    select(Job.spec)
    .where(Job.experiment_id == bindparam("experiment"), Job.action == "annotation", Job.status == JobStatus.RUNNING)
    .limit(1)
)


def asked(
    dataset_id: str,
    experiment: Experiment | None,
    strategy: Strategy | None,
    vocabulary: Vocabulary | None,
    chosen: str | None = None,
) -> Asked:
    """Return what the queries of `orders` are asked with; *chosen* is an image that comes before all others."""
    return Asked(
        dataset=dataset_id,
        vocabulary=vocabulary.id if vocabulary is not None else None,
        experiment=experiment.id if experiment is not None else None,
        lineage=experiment.lineage if experiment is not None else None,
        method=strategy or (experiment.strategy if experiment is not None else "random"),
        chosen=chosen,
    )


def orders(session: Session, experiment: Experiment | None, turn: int, values: Asked) -> Iterator[Order]:
    """Yield the orders to try, first choice first; their queries are asked with *values*, as `asked` returned them.

    `turn`: how many images the experiment will have had served with this one.
    """
    due = turn % EVALUATION_TURN == 0
    if due and experiment is not None and _wants_evaluation(session, experiment, values):
        yield _TO_EVALUATE
    if values["chosen"] is not None:
        yield _CHOSEN
    if values["method"] in _BY_NAME:
        yield _BY_NAME[values["method"]]
    elif reads_scores(values["method"]) and experiment is not None:
        yield _SCORED
        yield _UNLIKE
    yield _RANDOM


def _wants_evaluation(session: Session, experiment: Experiment, values: Asked) -> bool:
    own = direct.run(session, _OWN, values).scalar()
    if own not in (None, values["dataset"]):
        return False
    spec = direct.run(session, _LOOP, values).scalar()
    wanted = (AnnotationSpec.model_validate(spec).gate if spec else GateSpec()).min_cases
    names = asked_by(experiment.labels)
    labelled = 0
    with direct.run(session, _EVALUATING, values) as rows:
        for annotated, said in rows.tuples():
            labelled += speaks(names_of(annotated, said), names)
            if labelled >= wanted:
                return False
    return True
