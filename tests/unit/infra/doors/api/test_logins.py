"""Failed logins per address."""

from infra.doors.api.logins import ALLOWED, FailedLogins


class _Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_after_five_failures_the_address_waits_until_the_first_is_a_minute_old() -> None:
    clock = _Clock()
    failed = FailedLogins(clock)
    for _ in range(ALLOWED):
        assert failed.wait_s("a") == 0
        failed.note("a")
        clock.now += 2
    assert failed.wait_s("a") == 51
    clock.now += 51
    assert failed.wait_s("a") == 0


def test_one_address_does_not_keep_another_out() -> None:
    failed = FailedLogins(_Clock())
    for _ in range(ALLOWED):
        failed.note("a")
    assert failed.wait_s("a") > 0
    assert failed.wait_s("b") == 0
