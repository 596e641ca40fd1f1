"""Boxes that cannot be learnt from are told by their numbers: beside the image, or without extent."""

import numpy as np
import pytest

from configs.kinds import STRUCTURED, BoxesLabel
from configs.wire.answers import ANSWERS, BoxesAnswer, ClassAnswer
from tasks.images.geometry import Geometry
from tasks.labels.forms.structured import faults

IMAGE = Geometry((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
INSIDE = (1.0, 1.0, 1.0, 5.0, 5.0, 5.0)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (INSIDE, None),
        ((-5.0, -5.0, -5.0, 30.0, 30.0, 30.0), None),
        ((30.0, 1.0, 1.0, 35.0, 5.0, 5.0), "Boxes 1 lie beside the image"),
        ((1.0, 1.0, 1.0, 5.0, 5.0, 1.0), "Boxes 1 have no extent along an axis"),
        ((2.0, 2.0, 2.0, 2.0, 2.0, 2.0), "Boxes 1 have no extent along an axis"),
    ],
)
def test_what_is_wrong_with_a_box_is_said(box: tuple[float, ...], said: str | None) -> None:
    label = BoxesLabel.model_validate({"boxes": [INSIDE, box], "classes": [0, 1]})
    found = faults(label, IMAGE)
    assert found is None if said is None else said in (found or "")


@pytest.mark.parametrize(
    "answer",
    [BoxesAnswer(boxes=[INSIDE], classes=[0], scores=[0.9]), ClassAnswer(index=0, probabilities={0: 0.9, 1: 0.1})],
)
def test_a_model_s_answer_is_a_label_as_it_is(answer: BoxesAnswer | ClassAnswer) -> None:
    written = answer.model_dump_json(by_alias=True)
    assert STRUCTURED.validate_json(written).classes_said() == {0}
    assert ANSWERS.validate_json(written) == answer


def test_a_box_whose_corners_are_the_wrong_way_round_is_none() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        BoxesLabel.model_validate({"boxes": [INSIDE[3:] + INSIDE[:3]], "classes": [0]})
