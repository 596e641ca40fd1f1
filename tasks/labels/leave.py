"""A label is hidden: out of counting, training and every list, and kept until it is purged."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog.tables import Label, LabelTag
from infra.adapters.catalog.tables.base import now
from tasks.rounds.count import hold, take_out_label


def hide(session: Session, label_id: str, actor: str) -> None:
    """Take a label out as a `removed` notification does, and mark it deleted. Call it inside a unit."""
    label = session.get_one(Label, label_id)
    dataset, loops = hold(session, label.dataset_id)
    # Read before the data set was held: a label may have come in, or been taken out, meanwhile.
    session.refresh(label)
    take_out_label(session, dataset, loops, label, actor)
    label.state, label.upload_pending = LabelState.REMOVED, False
    label.deleted_at = session.scalar(select(now()))
    session.execute(delete(LabelTag).where(LabelTag.label_id == label.id))
    session.flush()
