"""Which columns name blobs: what a row names has to be there, and what none names may go."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from infra.adapters.catalog.tables import Job, Label, ModelVersion, StepMark, Upload

_NAMES: tuple[InstrumentedAttribute[str] | InstrumentedAttribute[str | None], ...] = (
    Label.blob,
    StepMark.output,
    ModelVersion.weights,
    ModelVersion.snapshot,
    ModelVersion.results,
    Job.snapshot,
    Upload.blob,
)


def named(session: Session, among: Collection[str] | None = None) -> set[str]:
    """Return the hashes that rows name; with *among* (some hundreds at most) those of them."""
    queries = [select(column).distinct() for column in _NAMES]
    if among is not None:
        queries = [query.where(column.in_(among)) for query, column in zip(queries, _NAMES, strict=True)]
    return {sha256 for query in queries for sha256 in session.scalars(query) if sha256 is not None}
