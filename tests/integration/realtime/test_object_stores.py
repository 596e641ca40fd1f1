"""A slot predicts images of object stores, as of any."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from configs.specs.infer import InferSpec
from infra.adapters.catalog.tables import Image
from infra.services.callers import Caller, Role
from infra.services.data import datasets
from infra.services.data.datasets import NewDataset
from infra.wiring import Parts
from tasks.images.volume import read_volume
from tasks.serving.predict import predict
from tests.fixtures_objects import KINDS, Bucket, new_bucket
from tests.integration.realtime.conftest import served
from tests.realtime_home import AFFINE_RAS, SHAPE, Realtime


def _dataset(parts: Parts, bucket: Bucket) -> tuple[str, int]:
    """Make a data set of one image; return its id and the image's."""
    voxels = np.random.default_rng(1).normal(100, 20, SHAPE).astype(np.float32)
    bucket.put("ct.nii", nibabel.Nifti1Image(voxels, AFFINE_RAS).to_bytes())
    url = bucket.manifest({"image": {"path": ["ct.nii"], "id": "one"}})
    given = bucket.credentials
    secret = SecretStr(given["client_secret"]) if given else None
    request = NewDataset(url=url, username=given.get("client_id"), password=secret)
    made = datasets.create(parts, Caller(org="clinic", subject="test", name="test", role=Role.ENGINEER), request)
    with parts.catalog.read() as session:
        [image] = session.scalars(select(Image.id).where(Image.dataset_id == made.id))
    return made.id, image


def test_one_slot_predicts_images_of_every_store(
    realtime: Realtime, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    buckets = [new_bucket(kind, request) for kind in KINDS]
    more: dict[str, Any] = {name: value for bucket in buckets for name, value in bucket.settings.items()}
    parts = Parts(realtime.parts.settings.model_copy(update=more))
    home = replace(realtime, parts=parts)
    with served(home, parts):
        for dataset_id, image in [_dataset(parts, bucket) for bucket in buckets]:
            answer = predict(parts, home.experiment_id, dataset_id, image, InferSpec(), "nrrd")
            path = tmp_path / f"{dataset_id}.nrrd"
            path.write_bytes(answer.content)
            label = read_volume(path)
            assert label.array.shape == SHAPE
            assert set(np.unique(label.array)) == {1}
    parts.close()
