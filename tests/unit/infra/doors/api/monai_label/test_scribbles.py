"""What strokes are taken for."""

import pytest

from configs.errors import InvalidRequestError
from infra.doors.api.monai_label.scribbles import ScribbleParams
from tasks.serving.scribbled import Strokes


def test_slicer_names_its_strokes_and_the_label_that_they_are_for() -> None:
    named = [("liver", 1), ("spleen", 2), ("background_scribbles", 3), ("foreground_scribbles", 4)]
    said = ScribbleParams.model_validate(
        {
            "label_info": [{"name": name, "id": value} for name, value in named],
            "selected_label_name": "spleen",
            "roi": [9, 1, 2, 5, 0, 4],
            "result_extension": ".nrrd",
        }
    )
    assert said.labels() == {"spleen": 2}
    assert said.strokes("gmm") == Strokes("gmm", 3, 4, 2, ((9, 1), (2, 5), (0, 4)))


def test_strokes_without_names_are_two_and_three() -> None:
    assert ScribbleParams().labels() == {"foreground": 1}
    assert ScribbleParams().strokes("histogram") == Strokes("histogram", 2, 3, 1, None)


def test_a_label_whose_value_fits_no_byte_is_answered_as_one() -> None:
    said = ScribbleParams.model_validate({"label_info": [{"name": "a", "id": 300}], "selected_label_name": "a"})
    assert said.labels() == {"a": 1}


@pytest.mark.parametrize(("background", "foreground"), [(0, 3), (2, 0), (4, 4)])
def test_strokes_that_cannot_be_told_from_nothing_or_from_each_other_are_refused(
    background: int, foreground: int
) -> None:
    values = [("background_scribbles", background), ("foreground_scribbles", foreground)]
    said = ScribbleParams.model_validate({"label_info": [{"name": name, "id": value} for name, value in values]})
    with pytest.raises(InvalidRequestError, match="give two values from 1"):
        said.strokes("gmm")
