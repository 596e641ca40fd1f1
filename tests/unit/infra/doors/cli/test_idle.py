"""When `up --exit-when-idle` ends."""

from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from configs.settings import Settings
from infra.doors.cli.client import Client
from infra.doors.cli.idle import duration_s, is_idle, look_every_s
from infra.doors.cli.supervisor.front import Front


def test_a_time_is_a_number_and_its_unit() -> None:
    assert [duration_s(text) for text in ("90s", "30m", "2h", "1d")] == [90, 1800, 7200, 86400]
    for wrong in ("", "30", "0m", "-5m", "1.5h", "30 m", "30min", "m"):
        with pytest.raises(InvalidRequestError, match="--exit-when-idle"):
            duration_s(wrong)


def test_it_is_looked_at_ten_times_in_that_time_and_every_minute_at_least() -> None:
    assert [look_every_s(after_s) for after_s in (1, 90, 86400)] == [0.5, 9, 60]


def test_the_front_waits_until_it_is_over(tmp_path: Path) -> None:
    looks = iter([False, False, True])
    Front(Settings(home=tmp_path), watch=lambda _: None).wait_end(lambda: next(looks), 0.001)
    assert list(looks) == []


def test_a_server_that_does_not_answer_is_not_idle() -> None:
    with Client("http://127.0.0.1:9", "key") as client:
        assert not is_idle(client, 0)
