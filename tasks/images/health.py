"""A data set whose store does not answer, or refuses us, says so and why; one that answers again says nothing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from configs.errors import StoreError
from infra.adapters.catalog.tables import Dataset
from infra.wiring import Parts

READY, DEGRADED, LISTING = "ready", "degraded", "listing"
log = logging.getLogger(__name__)


@contextmanager
def degraded_by(parts: Parts, dataset_id: str) -> Iterator[None]:
    """Note how the data set's store did: degraded with the reason if a `StoreError` leaves the block, else ready.

    Raises:
        StoreError: The one that left the block.
    """
    try:
        yield
    except StoreError as error:
        degrade(parts, dataset_id, error)
        raise
    recovered(parts, dataset_id)


def recovered(parts: Parts, dataset_id: str) -> None:
    """Say that the data set's store does what is asked of it."""
    _note(parts, dataset_id, READY, "")


def degrade(parts: Parts, dataset_id: str, error: StoreError) -> None:
    """Say that the data set's store fails, and how."""
    if _note(parts, dataset_id, DEGRADED, str(error)):
        log.warning("data set %s is degraded: %s", dataset_id, error)


def _note(parts: Parts, dataset_id: str, state: str, reason: str) -> bool:
    """Write the state if it is another, and say whether it was; asked first, since it seldom is."""

    def noted(session: Session) -> bool:
        """Change the row if it says something else; in a session for questions this only asks."""
        row = session.get(Dataset, dataset_id)
        if row is None or (row.state, row.state_reason) == (state, reason):
            return False
        if state == READY and row.state != DEGRADED:
            return False  # its listing says itself when it has come to its end
        row.state, row.state_reason = state, reason
        return True

    try:
        with parts.catalog.read() as session:
            if not noted(session):
                return False
        return parts.catalog.unit(noted)
    except SQLAlchemyError as error:  # who reads an image while the catalog is away gets it all the same
        log.warning("data set %s: its state could not be noted: %s", dataset_id, type(error).__name__)
        return False
