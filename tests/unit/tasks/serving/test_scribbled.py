"""Where strokes count."""

import pytest

from configs.errors import InvalidRequestError
from tasks.serving.scribbled import within

SHAPE = (10, 10, 6)


def test_a_region_in_one_slice_is_that_slice() -> None:
    assert within(((9, 1), (-3, 40), (5, 5)), SHAPE) == ((1, 9), (0, 10), (5, 6))


@pytest.mark.parametrize("outside", [(6, 6), (-2, -2), (8, 9)])
def test_a_region_beside_the_image_is_refused(outside: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequestError, match="outside of the image"):
        within(((1, 9), (1, 9), outside), SHAPE)
