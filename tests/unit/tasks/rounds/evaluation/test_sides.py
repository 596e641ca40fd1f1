"""The second split, inside the training patients: who stops a training early and chooses its checkpoint."""

from hashlib import sha256

import pytest

from tasks.images.sync import is_held_out
from tasks.rounds.evaluation.sides import VALIDATION_FROM, validates

PATIENTS = [sha256(str(number).encode()).hexdigest() for number in range(4000)]
LINEAGE = "one"


def test_with_few_training_patients_all_of_them_train() -> None:
    assert not any(validates(LINEAGE, patient, VALIDATION_FROM - 1) for patient in PATIENTS)


def test_a_fifth_of_the_training_patients_validates_whatever_the_first_hash_says_of_them() -> None:
    training = [patient for patient in PATIENTS if not is_held_out(patient)]

    chosen = [patient for patient in training if validates(LINEAGE, patient, len(training))]

    assert len(chosen) == pytest.approx(len(training) / 5, abs=4 * 23), "four standard deviations of a binomial"
    assert chosen != [patient for patient in training if validates("another", patient, len(training))]
