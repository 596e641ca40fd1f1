"""What annotators were answered, and what the catalog says of it: none lost, none doubled."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import func, select, text

from configs.errors import TeachbackError
from configs.states import LabelState
from infra.adapters.catalog.tables import Image, Job, Label, LabelEvent, PendingImage
from infra.wiring import Parts

IN_HISTORY = frozenset({LabelState.ACTIVE, LabelState.SUPERSEDED})


@dataclass
class Ledger:
    """Labels that were acknowledged: the image, the label's id, and the bytes' sha256."""

    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    repeated: int = 0
    _lock: Lock = field(default_factory=Lock)

    def note(self, label: str, image: str, sha256: str, *, again: bool) -> None:
        """Note an answer; `again` if the request had been sent before without one."""
        with self._lock:
            self.acknowledged[label] = (image, sha256)
            self.repeated += again


@dataclass(frozen=True)
class Found:
    """What is wrong; all empty = nothing is lost or doubled."""

    lost: list[str]
    doubled: list[str]
    miscounted: list[str]

    @property
    def nothing(self) -> bool:
        """Whether all is well."""
        return not (self.lost or self.doubled or self.miscounted)

    def __str__(self) -> str:
        return f"lost {self.lost or 'none'}, doubled {self.doubled or 'none'}, miscounted {self.miscounted or 'none'}"


def check(parts: Parts, dataset: str, ledger: Ledger) -> Found:
    """Compare what was answered with the catalog and the blobs."""
    with parts.catalog.read() as session:
        query = select(Label, Image.key).join(Image, Image.id == Label.image_id).where(Label.dataset_id == dataset)
        rows = session.execute(query).all()
        added = select(LabelEvent.label_id, func.count()).where(LabelEvent.dataset_id == dataset)
        events = dict(session.execute(added.group_by(LabelEvent.label_id)).tuples().all())
        numbers = session.scalars(select(LabelEvent.seq).where(LabelEvent.dataset_id == dataset)).all()
        miscounted = [
            f"loop {loop.id}: {loop.pending} pending, {_pending(parts, loop.id)} rows"
            for loop in session.scalars(select(Job).where(Job.action == "annotation"))
            if loop.pending != _pending(parts, loop.id)
        ]
        if parts.catalog.is_sqlite:
            said = session.scalar(text("PRAGMA integrity_check"))
            miscounted += [] if said == "ok" else [f"SQLite: {said}"]
    # A label that waited for its store was acknowledged under an id of ours.
    known = {name: (row, key) for row, key in rows for name in (row.store_key, f"home/{row.id}")}
    lost = [label for label, told in ledger.acknowledged.items() if not _kept(parts, known.get(label), told)]
    contents = Counter((row.image_id, row.blob) for row, _ in rows)
    doubled = [f"image {image}, twice the same bytes" for (image, _), count in contents.items() if count > 1]
    doubled += [f"label {label}: {count} events" for label, count in events.items() if count > 1]
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        miscounted.append("the events' numbers have gaps or doubles")
    return Found(lost, doubled, miscounted)


def _kept(parts: Parts, found: tuple[Label, str] | None, told: tuple[str, str]) -> bool:
    if found is None or (found[1], found[0].blob) != told or found[0].state not in IN_HISTORY:
        return False
    try:
        parts.blobs.path(told[1])
    except TeachbackError:
        return False
    return True


def _pending(parts: Parts, loop: str) -> int:
    with parts.catalog.read() as session:
        return session.scalar(select(func.count()).where(PendingImage.job_id == loop)) or 0
