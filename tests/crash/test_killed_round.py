"""kill -9 of whoever runs a round, at every named point of it."""

from pathlib import Path

from tests.soak.rounds import kills


def test_a_round_killed_at_any_of_its_points_is_ended_once_by_the_next_attempt(sqlite_url: str, tmp_path: Path) -> None:
    assert kills(tmp_path / "ward", sqlite_url, times=1) == []
