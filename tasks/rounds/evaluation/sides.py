"""Train or evaluate: given once per patient and lineage, in the order of the labels' numbers, and kept for ever."""

import hashlib
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.states import Side
from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.tables import Image, PatientSide

# Without any training patient there would be no first model to evaluate.
FIRST_TRAIN = 2
# Of fewer, a fifth is a patient or none: choosing an epoch by it would be choosing by chance.
VALIDATION_FROM = 10
VALIDATION_SHARE = 20


def give_sides(session: Session, lineage: str, images: Iterable[Image], *, decided: Side | None = None) -> None:
    """Give each new patient its side. The first two train; then the keyed hash sends a fifth to evaluation.

    Args:
        session: A unit that holds the data set's row.
        lineage: An experiment and all that start from its weights.
        images: Labelled images in the order of their labels' numbers.
        decided: The side that their data set decides, where training and evaluation have one each; a side that
            exists wins. None = the hash decides.
    """
    # Experiments of one lineage may learn from different data sets, so the data set's row does not keep them apart.
    one_by_one(session, f"sides/{lineage}")
    known = sides(session, lineage)
    training = sum(side == Side.TRAIN for side in known.values())
    for image in images:
        if image.patient_key in known:
            continue
        held_out = training >= FIRST_TRAIN and image.held_out
        side = decided or (Side.EVALUATE if held_out else Side.TRAIN)
        training += side == Side.TRAIN
        known[image.patient_key] = side
        session.add(PatientSide(lineage=lineage, patient_key=image.patient_key, side=side))


def sides(session: Session, lineage: str) -> dict[str, str]:
    """Return every patient's side in a lineage."""
    rows = session.scalars(select(PatientSide).where(PatientSide.lineage == lineage))
    return {row.patient_key: row.side for row in rows}


def validates(lineage: str, patient_key: str, patients: int) -> bool:
    """Say whether a training patient is kept for early stopping: a second hash, once there are enough of them."""
    if patients < VALIDATION_FROM:
        return False
    # Not the hash that gives the sides: by that one all training patients are alike.
    digest = hashlib.sha256(f"validate/{lineage}/{patient_key}".encode()).digest()
    return digest[0] * 100 < VALIDATION_SHARE * 256
