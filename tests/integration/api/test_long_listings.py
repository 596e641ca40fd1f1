"""A store with very many images is listed piece by piece where a request waits for it."""

from pathlib import Path

import pytest

from infra.wiring import Parts
from tasks.images import sync
from tasks.images.sync import sync_dataset
from tests.integration.api.conftest import Api


@pytest.fixture
def many(tmp_path: Path) -> Path:
    root = tmp_path / "many"
    for patient in range(5):
        (root / f"p{patient}").mkdir(parents=True)
        for image in range(sync.BATCH // 2):
            (root / f"p{patient}" / f"{image}.nii").touch()
    return root


def test_what_does_not_fit_into_the_time_comes_with_later_passes(engineer: Api, parts: Parts, many: Path) -> None:
    (hidden := many.with_name("away")).mkdir()
    dataset = engineer.made("/datasets", name="many", client_url=str(hidden))["id"]
    hidden.rmdir()
    many.rename(hidden)

    passes = []
    while not (report := sync_dataset(parts, dataset, within_s=0)).complete:
        passes.append(report.added)

    assert passes == [sync.BATCH, sync.BATCH]
    assert (report.images, report.added, report.gone) == (5 * sync.BATCH // 2, sync.BATCH // 2, 0)
