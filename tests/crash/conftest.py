"""The ward that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tasks.images.sample.write import write_cases
from tests.crash.ward import CASES, Ward, make_dataset, make_experiment
from tests.fixtures_installation import House, Installation
from tests.processes import wait_until


@pytest.fixture(scope="session")
def _made_ward(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("ward")
    write_cases(folder / "images", folder / "truth", count=CASES, seed=1, spacing_mm=6)
    write_cases(folder / "held-out", folder / "held-out-truth", count=2, seed=2, spacing_mm=6, first=101)
    (folder / "held-out-truth").rename(folder / "held-out" / "labels")
    installation = house.running()
    with installation.client() as client:
        train, judge = (make_dataset(client, folder / name) for name in ("images", "held-out"))
        experiment = make_experiment(client, train, judge, realtime=True)
        catalog = installation.catalog()
        yield Ward(installation, client, catalog, folder / "truth", train, experiment)
        catalog.close()


@pytest.fixture
def ward(installation: Installation, _made_ward: Ward) -> Ward:
    """An experiment that trains on one folder and is judged on another, its realtime server answering."""
    assert installation == _made_ward.installation
    wait_until(lambda: _made_ward.infer().is_success, "the realtime server to answer")
    return _made_ward
