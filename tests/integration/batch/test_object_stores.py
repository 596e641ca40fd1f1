"""A batch on each object store: gone on with after a loss, its files reachable, and in the store where allowed."""

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import pytest
from pydantic import SecretStr

from configs.settings import Settings
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog.tables import Dataset
from infra.services.data.access import credentials_of, sealed
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.imports import import_labels
from tasks.results.files import files_of
from tests.builders import World, job
from tests.fixtures_objects import Bucket
from tests.integration.batch.conftest import NAMES, SHAPE, ServingHosts, ask, attempt, attempt_after_a_loss
from tests.runs_in_memory import RunsInMemory


@pytest.fixture
def parts(sqlite_url: str, tmp_path: Path, runs: RunsInMemory, bucket: Bucket) -> Iterator[Parts]:
    plain = Settings(home=tmp_path / "home", catalog_url=sqlite_url)
    opened = Parts(plain.model_copy(update=bucket.settings), orchestrator=runs)
    yield opened
    opened.close()


@pytest.fixture
def stored(parts: Parts, world: World, bucket: Bucket, tmp_path: Path) -> World:
    """The same images behind a manifest, in a store that may be written."""
    for name in NAMES:
        bucket.put(f"{name}.nii.gz", (tmp_path / "images" / f"{name}.nii.gz").read_bytes())
    url = bucket.manifest(*({"image": {"path": [f"{name}.nii.gz"], "id": name}} for name in NAMES))
    given = bucket.credentials
    secret = sealed(parts, "clinic", credentials_of(given.get("client_id"), SecretStr(given.get("client_secret", ""))))
    with parts.catalog.write() as session:
        row = session.get_one(Dataset, world.dataset)
        row.spec = DatasetSpec(kind=bucket.kind, url=url, write_predictions=True).model_dump(mode="json")
        if secret is not None:
            session.add(secret)
            session.flush()
            row.secret_id = secret.id
    sync_dataset(parts, world.dataset)
    return world


def test_a_batch_goes_on_where_it_was_and_its_predictions_are_files_and_objects(
    parts: Parts, stored: World, hosts: ServingHosts, bucket: Bucket
) -> None:
    before = bucket.keys()
    job_id = ask(parts, stored)
    assert attempt_after_a_loss(parts, job_id, hosts).predicted == len(NAMES)

    files = files_of(parts, job(parts.catalog, job_id))
    assert [file.name for file in files] == [f"{job_id}.jsonl", *(f"{name}.nii.gz" for name in NAMES)]
    assert {nib.load(file.path).shape for file in files[1:]} == {SHAPE}
    written = bucket.keys() - before
    assert len(written) == len(NAMES)
    assert {key.split("/")[0] for key in written} == {"teachback"}
    assert import_labels(parts, stored.dataset) == 0, "a model's output is no label"


def test_a_second_batch_by_the_same_version_writes_no_second_object(
    parts: Parts, stored: World, hosts: ServingHosts, bucket: Bucket
) -> None:
    assert hosts
    attempt(parts, ask(parts, stored))
    once = bucket.keys()
    attempt(parts, ask(parts, stored))
    assert bucket.keys() == once
