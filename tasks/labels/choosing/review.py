"""A reviewer's word on a label: approved, or sent back to its author with the reason. Call these inside a unit."""

from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError
from configs.states import LabelState
from infra.adapters.catalog.tables import Label
from tasks.labels.incoming.intake import append_event
from tasks.rounds.count import count_image, hold, open_round_if_due
from tasks.selection.back import give_back

MAX_REASON_CHARS = 1000


def approve(session: Session, label_id: str, reviewer: str) -> Label:
    """Approve what somebody says of an image; it counts now where the data set trains on approved labels only.

    Raises:
        ConflictError: If it is not what its author says any more, or cannot be learnt from.
    """
    label = session.get_one(Label, label_id)
    dataset, loops = hold(session, label.dataset_id)
    session.refresh(label)
    _must_be_active(label, "approved")
    if label.approved:
        return label
    label.approved, label.reviewed_by, label.review_reason = True, reviewer, ""
    # A new number: where only approved labels train, it comes in now.
    append_event(session, dataset, label, "approved", reviewer)
    session.flush()
    count_image(session, dataset, loops, label.image_id, new="" if label.imported else label.kind)
    for loop in loops:
        open_round_if_due(session, loop)
    return label


def send_back(session: Session, label_id: str, reviewer: str, reason: str, lease_s: float) -> Label:
    """Take a label out of counting and training, and give its image to its author again, with the reason.

    Args:
        session: A unit.
        label_id: The label.
        reviewer: Who sends it back.
        reason: What is to be done; its author reads it.
        lease_s: For how long nobody else gets the image.

    Raises:
        InvalidRequestError: If there is no reason.
        ConflictError: If it is not what its author says any more.
    """
    said = " ".join(reason.split())
    if not said or len(said) > MAX_REASON_CHARS:
        raise InvalidRequestError(f"Sending a label back takes a reason of at most {MAX_REASON_CHARS} characters")
    label = session.get_one(Label, label_id)
    dataset, loops = hold(session, label.dataset_id)
    session.refresh(label)
    if label.state == LabelState.SENT_BACK:
        label.review_reason = said
        return label
    _must_be_active(label, "sent back")
    label.state, label.approved, label.handed_back = LabelState.SENT_BACK, False, False
    label.reviewed_by, label.review_reason = reviewer, said
    append_event(session, dataset, label, "sent_back", reviewer)
    session.flush()
    count_image(session, dataset, loops, label.image_id)
    if not label.imported:
        give_back(session, label, lease_s)
    return label


def _must_be_active(label: Label, doing: str) -> None:
    if label.state != LabelState.ACTIVE:
        raise ConflictError(f"Label {label.id} is {label.state}: only a label that is active can be {doing}")
