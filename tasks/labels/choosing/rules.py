"""A data set's rules for labels change: what is open and what waits for a round is brought up to date in one unit."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Label
from tasks.labels.choosing.choose import OCCUPIES
from tasks.rounds.count import count_image, hold, open_round_if_due
from tasks.rounds.jobs.start import count_again


def apply_rules(session: Session, dataset_id: str) -> None:
    """Count the data set's labels by the rules that its row has now. Call it inside a unit that has changed them."""
    session.flush()
    dataset, loops = hold(session, dataset_id)
    said = select(Label.image_id).where(Label.dataset_id == dataset_id, Label.state.in_(OCCUPIES)).distinct()
    for image_id in session.scalars(said).all():
        count_image(session, dataset, loops, image_id)
    for loop in loops:
        count_again(session, loop)
        open_round_if_due(session, loop)
