"""Strided: images spread evenly over the ids, ever more closely, so that neighbours are not labelled one by one."""

from collections.abc import Iterator
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Candidate, Experiment, Image
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import insert
from infra.wiring import Parts
from tasks.selection.scores import Scored
from tasks.selection.unspoken import is_free_for

METHOD = "strided"
MOST = 10_000
"""Images that get a place: more than anybody labels before the next refresh."""
AT_ONCE = 2000


def spread(count: int) -> Iterator[int]:
    """Yield 0 to count - 1, each once, so that any beginning lies evenly: 0, 4, 2, 6, 1, 5, 3, 7.

    Bits reversed: van der Corput, "Verteilungsfunktionen", Proc. Akad. Amsterdam 38, 1935. That images at a stride are
    a strong baseline: "Less is More", arXiv:2207.00845, 2022.
    """
    bits = max(0, count - 1).bit_length()
    for number in range(2**bits):
        place = int(f"{number:0{bits}b}"[::-1], 2) if bits else 0
        if place < count:
            yield place


def place_strided(parts: Parts, experiment_id: str, dataset_id: str) -> Scored:
    """Give the free images of a data set their places, 1 for the first to 0; return how many got one."""
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
        version = experiment.published_version
        query = select(Image.id).where(Image.dataset_id == dataset_id, is_free_for(session, dataset_id, experiment))
        free = session.scalars(query.order_by(Image.key)).all()
    if version is None:
        return Scored()
    order = [free[place] for _, place in zip(range(MOST), spread(len(free)), strict=False)]
    what = {"experiment_id": experiment_id, "method": METHOD, "dataset_id": dataset_id, "version_id": version, "by": ""}
    rows = [{**what, "image_id": image, "score": 1 - place / len(order)} for place, image in enumerate(order)]
    for start in range(0, len(rows), AT_ONCE):
        parts.catalog.unit(partial(_write, rows=rows[start : start + AT_ONCE]))
    return Scored(len(rows))


def _write(session: Session, rows: list[dict[str, object]]) -> None:
    row = insert(session, Candidate).values(at=now())
    key = [Candidate.experiment_id, Candidate.image_id, Candidate.method]
    new = {"score": row.excluded.score, "version_id": row.excluded.version_id, "at": now()}
    session.connection().execute(row.on_conflict_do_update(index_elements=key, set_=new), rows)
