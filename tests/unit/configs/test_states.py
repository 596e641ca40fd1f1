"""The tables of statuses."""

from configs.states import JOB_CHANGES, TERMINAL, JobStatus, may_change


def test_every_status_has_its_row() -> None:
    assert set(JOB_CHANGES) == set(JobStatus)


def test_nothing_leaves_a_terminal_status() -> None:
    assert not any(may_change(status, after) for status in TERMINAL for after in set(JobStatus) - {status})


def test_every_open_status_can_end() -> None:
    def ends(status: JobStatus, seen: frozenset[JobStatus]) -> bool:
        return status in TERMINAL or any(ends(after, seen | {status}) for after in JOB_CHANGES[status] - seen)

    assert all(ends(status, frozenset()) for status in JobStatus)
