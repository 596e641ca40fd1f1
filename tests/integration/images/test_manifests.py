"""A manifest in a real store: as guide 002 has it, with everything that may stand in it."""

import gzip
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from configs.errors import AccessError, StoreError
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.objects.store import ObjectStore
from tasks.images.prepare import local_image
from tasks.images.volume import read_volume
from tasks.labels.forms.read import read_label
from tasks.labels.forms.structured import read_structured
from tests.dicom_series import asymmetric, make_series, oblique_affine, save_series, zipped
from tests.fixtures_objects import HMAC_ID, HMAC_SECRET, Bucket, new_bucket

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def _nifti(value: float = 0.0, affine: NDArray[np.float64] = AFFINE) -> bytes:
    return gzip.compress(nibabel.Nifti1Image(np.full((3, 4, 5), value, np.float32), affine).to_bytes())


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Bucket:
    return new_bucket("s3", request)


def test_the_guide_s_manifest_with_masks(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("a", "b"):
        bucket.put(f"set/images/{name}.nii.gz", _nifti())
    bucket.put("set/labels/a.nii.gz", _nifti(1))
    url = bucket.manifest(
        {"image": {"path": ["images/a.nii.gz"], "id": "u-1"}, "label": {"path": ["labels/a.nii.gz"], "id": "u-2"}},
        {"image": {"path": "images/b.nii.gz", "id": "u-3"}, "patient": "p", "cohort": "night"},
        {"label": {"path": ["labels/a.nii.gz"], "id": "no image"}},
        root_path=f"{bucket.url}/set",
    )

    store = bucket.store(url, tmp_path / "cache")

    images = {image.key: image for image in store.images()}
    assert {key: (image.patient, image.meta, image.skipped) for key, image in images.items()} == {
        "u-1": (None, {}, ""),
        "u-3": ("p", {"cohort": "night"}, ""),
    }
    [label] = store.labels()
    assert (label.image, label.key, label.ours) == ("u-1", "u-2", False)
    assert label.changed is not None
    assert list(store.labels(seen={label.mark})) == []
    assert store.label("u-1", "u-2").fingerprint == label.fingerprint
    assert read_volume(store.fetch_label("u-2", tmp_path / "label")).array.max() == 1


def test_an_hmac_key_opens_google_s_store_in_the_way_of_s3(s3: Bucket, tmp_path: Path) -> None:
    key = {"client_id": HMAC_ID, "client_secret": HMAC_SECRET}
    s3.put("a.nii.gz", _nifti(3))
    s3.manifest({"image": {"path": ["a.nii.gz"], "id": "u-1"}})
    theirs = replace(s3, kind="gcs")  # the address, and the setting that leads to a store which checks signatures

    store = theirs.store(theirs.url, tmp_path / "cache", key)

    [image] = store.images()
    cache = DiskCache(tmp_path / "prepared", 10**9)
    assert read_volume(local_image(store, cache, image.key, image.fingerprint).path).array.max() == 3
    with pytest.raises(AccessError):
        list(theirs.store(theirs.url, tmp_path / "other", {**key, "client_secret": "not the secret"}).images())


def test_classes_and_boxes_stand_in_the_manifest_itself_and_zero_is_a_class(s3: Bucket, tmp_path: Path) -> None:
    s3.put("a.nii.gz", _nifti())
    s3.put("b.nii.gz", _nifti())
    box = [0.0, 0.0, 0.0, 1.0, 2.0, 3.5]
    url = s3.manifest(
        {"image": {"path": ["a.nii.gz"], "id": "a"}, "label": 0},
        {"image": {"path": ["b.nii.gz"], "id": "b"}, "bbox": [box], "label": [2]},
        label_key=["bbox", "label"],
    )

    store = s3.store(url, tmp_path / "cache")
    assert isinstance(store, ObjectStore)

    labels = {label.image: label for label in store.labels()}
    read = {key: store.fetch_label(label.key, tmp_path / key) for key, label in labels.items()}
    assert json.loads(read["a"].read_text()) == {"class": 0}
    assert json.loads(read["b"].read_text()) == {"boxes": [box], "classes": [2]}
    assert [read_structured(path).classes_said() for path in read.values()] == [{0}, {2}]
    assert store.label("a", labels["a"].key) == labels["a"]
    copy = json.loads("".join(store.written({image: label.key for image, label in labels.items()})))
    assert [{**entry, "image": entry["image"]["id"]} for entry in copy["data"]] == [
        {"image": "a", "label": 0},
        {"image": "b", "bbox": [box], "label": [2]},
    ]


def test_several_files_are_one_image_channels_or_slices(s3: Bucket, tmp_path: Path) -> None:
    for value, name in enumerate(("t1", "t2")):
        s3.put(f"{name}.nii.gz", _nifti(value))
    s3.put("other.nii.gz", _nifti(0, np.eye(4)))
    save_series(make_series(asymmetric(), oblique_affine(), patient="x"), tmp_path / "series")
    slices = sorted(path.name for path in (tmp_path / "series").iterdir())
    for name in slices:
        s3.put(f"series/{name}", (tmp_path / "series" / name).read_bytes())
    s3.put("series.ZIP", zipped(tmp_path / "series"))
    url = s3.manifest(
        {"image": {"path": ["t1.nii.gz", "t2.nii.gz"], "id": "channels"}},
        {"image": {"path": [f"series/{name}" for name in slices], "id": "slices"}},
        {"image": {"path": ["series.ZIP"], "id": "zipped"}},
    )
    store, cache = s3.store(url, tmp_path / "cache"), DiskCache(tmp_path / "images", 10**9)

    channels, *both = (local_image(store, cache, image.key, image.fingerprint) for image in store.images())

    assert [np.asanyarray(nibabel.load(file).dataobj).mean() for file in channels.files] == [0, 1]
    assert channels.geometry().shape == (3, 4, 5)
    for series in both:
        np.testing.assert_array_equal(read_volume(series.path).array, asymmetric())
        assert series.headers is not None


def test_a_picture_s_mask_may_be_a_picture(s3: Bucket, tmp_path: Path) -> None:
    colours, mask = BytesIO(), BytesIO()
    Image.new("RGB", (6, 4), (200, 10, 10)).save(colours, "JPEG")
    Image.fromarray(np.eye(4, 6, dtype=np.uint8) * 3).save(mask, "PNG")
    s3.put("a.jpg", colours.getvalue())
    s3.put("mask.png", mask.getvalue())
    url = s3.manifest({"image": {"path": ["a.jpg"], "id": "u-1"}, "label": {"path": ["mask.png"], "id": "u-2"}})
    store, cache = s3.store(url, tmp_path / "cache"), DiskCache(tmp_path / "images", 10**9)

    [image], [label] = store.images(), store.labels()

    grid = local_image(store, cache, image.key, image.fingerprint).geometry()
    said = read_label(store.fetch_label(label.key, tmp_path / "label"), grid)
    assert said.array[..., 0].T.tolist() == (np.eye(4, 6, dtype=int) * 3).tolist()


def test_a_changed_manifest_is_read_again_and_an_object_that_is_gone_is_named(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("a", "b"):
        bucket.put(f"{name}.nii.gz", _nifti())
    first = {"image": {"path": ["a.nii.gz"], "id": "a"}}
    store = bucket.store(bucket.manifest(first), tmp_path / "cache")
    before = store.image("a").fingerprint
    assert [image.key for image in store.images()] == ["a"]

    bucket.manifest(first, {"image": {"path": ["b.nii.gz", "gone.nii.gz"], "id": "b"}})
    bucket.put("a.nii.gz", _nifti(7))

    found = {image.key: image for image in store.images()}
    assert found["a"].fingerprint != before
    assert found["b"].skipped == "missing: the manifest names an object that is not there"
    assert isinstance(store, ObjectStore)
    assert store.missing() == (1, 2)


def test_within_one_listing_objects_are_looked_for_once(s3: Bucket, tmp_path: Path) -> None:
    s3.put("a.nii.gz", _nifti())
    s3.put("label.nii.gz", _nifti(1))
    entry = {"image": {"path": ["a.nii.gz"], "id": "a"}, "label": {"path": ["label.nii.gz"], "id": "b"}}
    store = s3.store(s3.manifest(entry), tmp_path / "cache")
    assert isinstance(store, ObjectStore)

    with store.one_listing():
        s3.remove("a.nii.gz")
        s3.remove("label.nii.gz")
        assert store.missing() == (0, 1)
        assert [image.skipped for image in store.images()] == [""]
        assert [label.key for label in store.labels()] == ["b"]

    assert store.missing() == (1, 1)
    assert list(store.labels()) == []


def test_one_id_for_two_images_is_refused_and_for_one_image_twice_is_not(s3: Bucket, tmp_path: Path) -> None:
    s3.put("a.nii.gz", _nifti())
    image = {"path": ["a.nii.gz"], "id": "a"}
    twice = s3.manifest({"image": image, "label": 1}, {"image": image, "label": 1})
    assert len(list(s3.store(twice, tmp_path).labels())) == 1
    two = s3.manifest({"image": image}, {"image": {"path": ["b.nii.gz"], "id": "a"}}, name="two.json")
    with pytest.raises(StoreError, match=r"one image\.id to different images"):
        list(s3.store(two, tmp_path).images())
