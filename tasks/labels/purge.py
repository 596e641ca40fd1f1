"""Removing for good what was deleted long ago: contents, names and credentials; numbers and ids stay as history.

What stays whatever its age: images of a store; labels that Teachback did not write, and those in a PACS, which has no
way to delete (both in their stores); and labels that a snapshot of an experiment names which was not deleted: they say
what its model was made of. A row without content stays for each label, so that history and audit keep their ids, and a
label found at the source does not come back.
"""

import logging
from collections.abc import Sequence
from pathlib import PurePosixPath

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.orm import Session

from configs.errors import NotFoundError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Job, Label, LabelTag, ModelVersion, VaultValue
from infra.adapters.catalog.tables.base import now
from infra.adapters.images.folder import FolderStore
from infra.adapters.images.objects.store import ObjectStore
from infra.wiring import Parts
from tasks.images.forget import forget_dataset
from tasks.images.stores import store_of
from tasks.rounds.records.snapshot import Snapshot

# One unit each: others' writes come in between.
BATCH = 200
FRESH_S = 3600.0
"""A content that was put so lately may be on its way into a label: it is left to a later purge."""
_OURS = PurePosixPath("teachback/labels")
log = logging.getLogger(__name__)


class Purged(BaseModel):
    """What was removed, or would be."""

    labels: int = Field(default=0, description="Deleted labels whose content is removed.")
    datasets: int = Field(default=0, description="Deleted data sets whose credentials and images' names are removed.")
    files: int = Field(default=0, description="Contents removed from this installation.")
    stored: int = Field(default=0, description="Label files of ours removed from data sets' folders.")
    kept: int = Field(default=0, description="Deleted labels that a model of an experiment was made of.")
    left: int = Field(default=0, description="Labels of ours that stay in a store that cannot remove them.")


def purge(parts: Parts, org: str, older_than_s: float, *, confirm: bool) -> Purged:
    """Remove what the organisation deleted longer ago than this; without *confirm* only count it."""
    named = _named(parts, org)
    with parts.catalog.read() as session:
        gone = session.scalars(
            select(Dataset).where(Dataset.org == org, Dataset.deleted_at < now() - older_than_s, Dataset.name != "")
        ).all()
        labels = _deleted(session, org, older_than_s)
    going = [label for label in labels if label.id not in named]
    done = Purged(labels=len(going), datasets=len(gone), kept=len(labels) - len(going))
    if not confirm:
        return done
    for start in range(0, len(going), BATCH):
        _remove(parts, going[start : start + BATCH], done)
    for dataset in gone:
        _empty(parts, dataset.id)
    return done


def _deleted(session: Session, org: str, older_than_s: float) -> Sequence[Label]:
    before = now() - older_than_s
    query = (
        select(Label)
        .join(Dataset, Dataset.id == Label.dataset_id)
        .where(Dataset.org == org, Label.blob.is_not(None), or_(Label.deleted_at < before, Dataset.deleted_at < before))
    )
    return session.scalars(query.order_by(Label.id)).all()


def _named(parts: Parts, org: str) -> set[str]:
    """Return the labels that snapshots of living experiments name, and those that they were derived from."""
    living = select(Experiment.id).where(Experiment.org == org, Experiment.deleted_at.is_(None))
    with parts.catalog.read() as session:
        of_jobs = session.scalars(select(Job.snapshot).where(Job.experiment_id.in_(living))).all()
        of_models = session.scalars(select(ModelVersion.snapshot).where(ModelVersion.experiment_id.in_(living))).all()
    named = set[str]()
    for sha256 in {found for found in (*of_jobs, *of_models) if found}:
        try:
            snapshot = Snapshot.model_validate_json(parts.blobs.read_bytes(sha256))
        except (NotFoundError, ValidationError):
            log.warning("snapshot %s cannot be read: what it names may be purged", sha256)
            continue
        named |= {row.label for row in snapshot.rows} | {other.label for other in snapshot.others}
    with parts.catalog.read() as session:
        derived = session.scalars(select(Label).where(Label.id.in_(named), Label.state == "derived")).all()
        return named | {str(source) for label in derived for source in label.params.get("from", [])}


def _remove(parts: Parts, labels: Sequence[Label], done: Purged) -> None:
    for label in labels:
        _take_from_store(parts, label, done)
    ours = [label.id for label in labels if _is_ours(label)]
    with parts.catalog.write() as session:
        ids = [label.id for label in labels]
        session.execute(delete(LabelTag).where(LabelTag.label_id.in_(ids)))
        # What the user's store still holds keeps its key: without it, it would be imported again.
        emptied: dict[str, object] = {
            "blob": None,
            "params": {},
            "names": {},
            "warnings": [],
            "annotated": None,
            "review_reason": "",
        }
        emptied |= {"author_name": "", "tool": "", "upload_pending": False, "state": "removed"}
        session.execute(update(Label).where(Label.id.in_(ids)).values(emptied))
        for label_id in ours:
            session.execute(update(Label).where(Label.id == label_id).values(store_key=f"purged/{label_id}"))
    for sha256 in {label.blob for label in labels if label.blob is not None}:
        done.files += _drop(parts, sha256)


def _take_from_store(parts: Parts, label: Label, done: Purged) -> None:
    if label.place == "home" or not _is_ours(label):
        return
    try:
        store = store_of(parts, label.dataset_id)
        if label.place == "store" and isinstance(store, (FolderStore, ObjectStore)):
            done.stored += store.remove_label(label.store_key)
            return
    except (StoreError, NotFoundError):
        log.warning("label %s stays in its store, which cannot be written", label.id)
    done.left += 1


def _is_ours(label: Label) -> bool:
    """Say whether we wrote what stands under the label's key: what was notified or imported is somebody else's."""
    key = PurePosixPath(label.store_key)
    return label.place != "store" or not label.imported or key.is_relative_to(_OURS)


def _drop(parts: Parts, sha256: str) -> int:
    """Remove a content that no label has any more; a fresh one may be on its way into one."""
    with parts.catalog.read() as session:
        if session.scalar(select(exists().where(Label.blob == sha256))):
            return 0
    return int(parts.blobs.delete(sha256, older_than_s=FRESH_S))


def _empty(parts: Parts, dataset_id: str) -> None:
    forget_dataset(parts, dataset_id)
    with parts.catalog.write() as session:
        dataset = session.get_one(Dataset, dataset_id)
        secret, dataset.secret_id = dataset.secret_id, None
        spec = DatasetSpec.model_validate(dataset.spec)
        dataset.name, dataset.description, dataset.shown = "", "", {}
        dataset.spec = DatasetSpec(kind=spec.kind, url="purged", labels_to="home").model_dump(mode="json")
        session.flush()
        session.execute(delete(VaultValue).where(VaultValue.id == secret))
        for image in session.scalars(select(Image).where(Image.dataset_id == dataset_id)):
            image.key, image.name, image.meta, image.skipped_reason = f"purged/{image.id}", "", {}, ""
            image.open, image.study = False, None
