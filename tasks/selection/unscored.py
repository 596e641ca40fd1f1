"""Which images a version has not scored yet, in shares, in the order in which they would be given."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from configs.specs.score import ScoringMethod
from infra.adapters.catalog.tables import Candidate, Experiment, Features, Image, Label, Unspoken
from tasks.labels.choosing.choose import OCCUPIES
from tasks.selection.unspoken import is_free_for, vocabulary_of


class Unscored:
    """Goes once down the scores of earlier versions, then once through what nobody has scored, and starts again.

    However many images there are, each is met once in a pass: a share begins where the last one ended. A pass that
    finds nothing is the last.

    Args:
        experiment: Whose published version is to score.
        dataset_id: Images of this data set that are free for the experiment.
        method: How they are scored.
    """

    def __init__(self, experiment: Experiment, dataset_id: str, method: ScoringMethod) -> None:
        self.experiment, self.dataset_id, self.method = experiment, dataset_id, method
        self._sources = [self._outdated, self._open, self._unspoken]
        self._restart()
        if method == "diversity":
            self._sources = [*self._sources, self._labelled]

    def _restart(self) -> None:
        # Labelled images are looked at in the first pass alone: whatever comes of it, nobody is given them.
        self._sources = [source for source in self._sources if source != self._labelled]
        self._source, self._found = 0, 0
        self._after: tuple[Any, ...] = ()

    def take(self, session: Session, most: int, left_out: set[int]) -> list[Image]:
        """Return the next images, *most* at the most; none when all are scored, or left out."""
        taken: list[Image] = []
        while len(taken) < most:
            if self._source == len(self._sources):
                if taken or not self._found:
                    break
                self._restart()
            query = self._sources[self._source](session)
            rows = session.execute(query.limit(most - len(taken))).all() if query is not None else []
            if not rows:
                self._source, self._after = self._source + 1, ()
                continue
            self._after = tuple(rows[-1][1:])
            fresh = [row[0] for row in rows if row[0].id not in left_out]
            self._found += len(fresh)
            taken += fresh
        return taken

    def _labelled(self, session: Session) -> Select[Any]:
        """Labelled images that the version has not seen: others are ordered by their distance from these."""
        seen = exists().where(
            Features.experiment_id == self.experiment.id,
            Features.image_id == Image.id,
            Features.method == self.method,
            Features.version_id == self.experiment.published_version,
        )
        labelled = exists().where(Label.image_id == Image.id, Label.state.in_(OCCUPIES))
        taken = and_(Image.open.is_(False), ~is_free_for(session, self.dataset_id, self.experiment))
        query = select(Image, Image.shuffle).where(Image.dataset_id == self.dataset_id, taken, labelled, ~seen)
        return self._behind(query, Image.shuffle)

    def _outdated(self, session: Session) -> Select[Any]:
        """Free images with a score of another version, the highest first."""
        rank = (Candidate.score, Candidate.image_id)
        free = is_free_for(session, self.dataset_id, self.experiment)
        query = (
            select(Image, *rank)
            .join(Candidate, Candidate.image_id == Image.id)
            .where(self._mine(), Candidate.dataset_id == self.dataset_id)
            .where(Candidate.version_id != self.experiment.published_version, free)
            .order_by(Candidate.score.desc(), Candidate.image_id.desc())
        )
        if not self._after:
            return query
        score, image_id = self._after
        further = or_(Candidate.score < score, and_(Candidate.score == score, Candidate.image_id < image_id))
        return query.where(Candidate.score <= score, further)

    def _open(self, _session: Session) -> Select[Any]:
        """Free images without any score, in random order."""
        query = select(Image, Image.shuffle).where(Image.dataset_id == self.dataset_id, Image.open.is_(True))
        return self._behind(query.where(~self._scored()), Image.shuffle)

    def _unspoken(self, session: Session) -> Select[Any] | None:
        """Images without any score that are labelled in other names, in random order."""
        vocabulary = vocabulary_of(session, self.dataset_id, self.experiment)
        if vocabulary is None:
            return None
        query = select(Image, Unspoken.shuffle).join(Unspoken, Unspoken.image_id == Image.id)
        query = query.where(Unspoken.vocabulary_id == vocabulary.id, ~self._scored())
        return self._behind(query, Unspoken.shuffle)

    def _behind(self, query: Select[Any], order: Any) -> Select[Any]:
        query = query.order_by(order)
        return query.where(order > self._after[0]) if self._after else query

    def _mine(self) -> ColumnElement[bool]:
        return and_(Candidate.experiment_id == self.experiment.id, Candidate.method == self.method)

    def _scored(self) -> ColumnElement[bool]:
        return exists().where(self._mine(), Candidate.image_id == Image.id)
