"""What counts as somebody's call."""

import pytest

from infra.doors.api.idle import Calls, is_call
from infra.doors.api.roles import ROLES


def test_nobody_called_for_as_long_as_the_last_call_is_over() -> None:
    moments = [0.0]
    calls = Calls(lambda: moments[0])
    moments[0] = 5.0
    assert calls.idle_s() == 5
    with calls.one():
        moments[0] = 5000.0
        assert calls.idle_s() == 0
    moments[0] = 5007.0
    assert calls.idle_s() == 7


@pytest.mark.parametrize(
    ("endpoint", "status"),
    [
        ("health.health", 200),
        ("monitoring.metrics", 200),
        ("native.status.idle", 200),
        ("monai_label.train.get_training", 200),
        ("monai_label.scoring.get_scoring", 200),
        ("browser.prefect.api", 200),
        ("monai_label.auth.enabled", 200),
        ("monai_label.info.info", 401),
        ("monai_label.images.get_image", 404),
        ("-", 404),
    ],
)
def test_strangers_and_programs_that_only_wait_are_nobody(endpoint: str, status: int) -> None:
    assert endpoint in {*ROLES, "-"}
    assert not is_call(endpoint, status)


@pytest.mark.parametrize(
    "endpoint", ["monai_label.samples.next_sample", "monai_label.info.info", "native.labels.approve"]
)
def test_an_annotators_request_is_a_call(endpoint: str) -> None:
    assert is_call(endpoint, 200)
