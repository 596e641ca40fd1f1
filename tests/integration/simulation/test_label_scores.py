"""Labels are scored once per model and label, and listed those first in which most is to be seen."""

from infra.services.callers import Caller, Role
from infra.services.learning.scores import scores
from tasks.selection.refresh import refresh_experiment
from tests.builders import ORG
from tests.integration.simulation.conftest import PATIENTS, ScoringInMemory
from tests.rounds_in_memory import Ward

ENGINEER = Caller(org=ORG, subject="ada", name="Ada", role=Role.ENGINEER)


def test_labels_are_scored_once_and_again_when_they_are_replaced(ward: Ward, hosts: ScoringInMemory) -> None:
    assert refresh_experiment(ward.parts, ward.experiment, "sum") == len(PATIENTS)
    assert all(case.label for case in hosts.scored[0].images)
    assert refresh_experiment(ward.parts, ward.experiment, "sum") == 0

    ward.label("p03", drawn=2)
    assert refresh_experiment(ward.parts, ward.experiment, "sum") == 1
    assert [case.id for case in hosts.scored[-1].images] == [str(ward.images["p03"])]


def test_labels_that_the_model_would_have_drawn_otherwise_come_first(ward: Ward) -> None:
    refresh_experiment(ward.parts, ward.experiment, "dice")
    refresh_experiment(ward.parts, ward.experiment, "surface")
    by_dice = scores(ward.parts, ENGINEER, ward.experiment, "dice", 3)
    by_surface = scores(ward.parts, ENGINEER, ward.experiment, "surface", 3)
    # The host gives each a hundredth of its id.
    images = sorted(ward.images.values())
    assert [image.id for _, image in by_dice.rows] == images[:3]
    assert [image.id for _, image in by_surface.rows] == images[:-4:-1]
