"""A store with very many images or labels is listed piece by piece where a request waits for it, and behind it."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import Label
from infra.wiring import Parts
from tasks.delivery.dispatch import LISTINGS, deliver_due
from tasks.images import sync
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.catch_up import catch_up
from tests.integration.api.conftest import Api, write_label


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


def test_labels_that_a_request_cannot_wait_for_come_behind_it_and_the_data_set_says_so(
    engineer: Api, parts: Parts, folder: Path
) -> None:
    dataset = engineer.made("/datasets", name="labelled", client_url=str(folder))["id"]
    images = sorted(folder.rglob("*.nii.gz"))
    for image in images:
        write_label(folder / "labels" / image.relative_to(folder))

    assert not catch_up(parts, dataset, within_s=0).complete

    assert _labels(parts) == 1
    shown = engineer.call("GET", f"/datasets/{dataset}").json()
    assert shown["state"] == "listing"
    assert "is being listed" in shown["state_reason"]
    assert engineer.at("GET", "/api/teachback/v1/status").json()["health"]["degraded"] == {}

    assert deliver_due(parts, LISTINGS) == 1

    assert _labels(parts) == len(images)
    shown = engineer.call("GET", f"/datasets/{dataset}").json()
    assert (shown["state"], shown["state_reason"]) == ("ready", "")
    with parts.catalog.read() as session:
        assert not outbox.due(session, LISTINGS)


def _labels(parts: Parts) -> int:
    with parts.catalog.read() as session:
        return session.scalar(select(func.count()).select_from(Label)) or 0
