"""The list of what shares a process is true to the tests that there are."""

from pathlib import Path

import pytest

from tests import division

TESTS = Path(division.__file__).parent


def test_every_name_is_of_a_file_or_folder() -> None:
    assert [name for unit in division._UNITS for name in unit if not (TESTS / name).exists()] == []


@pytest.mark.parametrize("server", ["house", "prefect_server", "mlflow_uri"])
def test_tests_that_use_the_same_server_are_of_one_unit(server: str, request: pytest.FixtureRequest) -> None:
    """Of those that this run has collected: a new file that starts a server is to be named in `division`."""
    users = {
        str(item.path.relative_to(TESTS.parent))
        for item in request.session.items
        if isinstance(item, pytest.Function) and server in item.fixturenames
    }
    units = {division._place(file)[0] for file in users}
    assert len(units) <= 1, sorted(users)
    assert division._REST[0] not in units, sorted(users)
