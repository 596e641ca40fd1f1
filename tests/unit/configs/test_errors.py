"""Messages of errors."""

from configs.errors import NotFoundError


def test_a_near_name_is_suggested() -> None:
    error = NotFoundError("bundle", "spleen_tc", known=["spleen_ct", "liver"])

    assert str(error) == "No bundle is named 'spleen_tc'. Did you mean 'spleen_ct'?"


def test_without_a_near_name_nothing_is_suggested() -> None:
    assert str(NotFoundError("bundle", "x", known=["spleen_ct"])) == "No bundle is named 'x'."
