"""What is said of a label besides its voxels, by who saved it and by reviewers; kept as it is said."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from configs.states import LabelState
from infra.adapters.catalog import audit, datasets
from infra.adapters.catalog.tables import Label
from infra.services.callers import Caller, Right, allow
from infra.services.data import label_history
from infra.wiring import Parts

APPROVED, FLAGGED = "approved", "flagged"
REVIEW = "segmentationMeta"
"""Where clients keep a review among what is said of a label."""
_NO_REASON = "flagged by a reviewer"


class Verdict(BaseModel):
    """A reviewer's word on a label: approved, flagged, or nothing yet; further words of it are kept unread."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str = ""
    comment: str = ""


def find(parts: Parts, caller: Caller, dataset_id: str, name: str, tag: str | None) -> Label:
    """Return the label of this id, or what a tag of an image of this id points to.

    Raises:
        NotFoundError: If there is none, or it was deleted.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
        row = label_history.resolve(session, dataset_id, name, tag)
    if row is None or row.deleted_at is not None or row.state == LabelState.REMOVED:
        raise NotFoundError("label", name)
    return row


def without_verdict(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a label without a status of its review: that is what reviewers did, and ours to tell."""
    meta = said.get(REVIEW)
    if not isinstance(meta, Mapping):
        return dict(said)
    return {**said, REVIEW: {name: value for name, value in meta.items() if name != "status"}}


def say(parts: Parts, caller: Caller, row: Label, more: Mapping[str, Any]) -> None:
    """Add to what is said of a label; somebody else's is for reviewers.

    Raises:
        ForbiddenError: If it is somebody else's, and the caller is no reviewer.
    """
    # What follows the slash is whatever a client calls itself.
    allow(caller, Right.ANNOTATE if row.author.split("/", 1)[0] == caller.subject else Right.REVIEW)

    def said(session: Session) -> None:
        """Add it, on the record."""
        label = session.get_one(Label, row.id, with_for_update=True)
        label.params = {**label.params, **without_verdict(more)}
        audit.record(session, caller.org, caller.subject, "label.info", row.id, fields=sorted(more))

    parts.catalog.unit(said)


def review(parts: Parts, caller: Caller, row: Label, verdict: Verdict) -> None:
    """Do what a reviewer says: approve the label, or send it back; any other word changes nothing.

    Raises:
        ForbiddenError: If the caller is no reviewer.
        ConflictError: If it is not what its author says any more.
    """
    allow(caller, Right.REVIEW)
    if verdict.status == APPROVED:
        label_history.approve(parts, caller, row.id)
    if verdict.status == FLAGGED:
        label_history.send_back(parts, caller, row.id, verdict.comment or _NO_REASON)
