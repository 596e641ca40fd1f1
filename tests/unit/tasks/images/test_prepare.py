"""An image is fetched and converted once, and is what the store held."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.folder import FolderStore
from tasks.images.prepare import cache_key, local_image
from tasks.images.volume import Volume, read_volume, write_nifti
from tasks.labels.forms.write import to_nrrd
from tests.dicom_series import asymmetric, oblique_affine


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", 10**9)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_every_format_becomes_an_uncompressed_nifti(name: str, root: Path, cache: DiskCache) -> None:
    volume = Volume(asymmetric(), oblique_affine())
    if name.endswith(".nrrd"):
        (root / name).write_bytes(to_nrrd(volume))
    else:
        write_nifti(volume, root / name)
    store = FolderStore(root)

    local = local_image(store, cache, "a", store.image("a").fingerprint)

    assert local.path.name == "image.nii"
    np.testing.assert_array_equal(read_volume(local.path).array, asymmetric())
    np.testing.assert_allclose(read_volume(local.path).affine, oblique_affine(), atol=1e-4)


def test_a_second_call_needs_no_store(root: Path, cache: DiskCache) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), root / "a.nii")
    store = FolderStore(root)
    fingerprint = store.image("a").fingerprint
    first = local_image(store, cache, "a", fingerprint)
    (root / "a.nii").unlink()

    assert local_image(store, cache, "a", fingerprint) == first

    cache.drop("raw", cache_key(store, "a", fingerprint))
    with pytest.raises(NotFoundError):
        local_image(store, cache, "a", fingerprint)


def test_more_than_three_axes_are_kept(root: Path, cache: DiskCache) -> None:
    array = np.arange(3 * 4 * 5 * 2, dtype=np.int16).reshape(3, 4, 5, 2)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / "a.nii.gz")
    store = FolderStore(root)

    local = local_image(store, cache, "a", store.image("a").fingerprint)

    np.testing.assert_array_equal(np.asarray(nibabel.load(local.path).dataobj), array)


def test_an_image_that_changed_since_it_was_listed_is_not_given(root: Path, cache: DiskCache) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), root / "a.nii")
    store = FolderStore(root)
    old = store.image("a").fingerprint
    write_nifti(Volume(asymmetric()[::-1], oblique_affine()), root / "a.nii")

    with pytest.raises(ConflictError, match="changed"):
        local_image(store, cache, "a", old)
    assert cache.find("raw", cache_key(store, "a", old)) is None


def test_a_damaged_image_is_refused_and_not_kept(root: Path, cache: DiskCache) -> None:
    (root / "a.nii.gz").write_bytes(b"\x1f\x8bnonsense")
    store = FolderStore(root)

    with pytest.raises(InvalidRequestError, match="no volume"):
        local_image(store, cache, "a", store.image("a").fingerprint)
    assert not list((cache._folder / "raw").glob("*/*"))


def test_voxels_that_do_not_fit_their_checksum_are_refused(root: Path, cache: DiskCache) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), root / "plain.nii")
    packed = bytearray(gzip.compress((root / "plain.nii").read_bytes()))
    packed[-8] ^= 1
    (root / "a.nii.gz").write_bytes(packed)
    store = FolderStore(root)
    with pytest.raises(InvalidRequestError, match="cannot be unpacked"):
        local_image(store, cache, "a", store.image("a").fingerprint)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_that_ends_before_its_last_voxel_is_refused(ending: str, root: Path, cache: DiskCache) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((32767, 32767, 32767))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(100)
    (root / f"a{ending}").write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    store = FolderStore(root)
    with pytest.raises(InvalidRequestError, match="last voxel"):
        local_image(store, cache, "a", store.image("a").fingerprint)


def test_what_follows_the_last_voxel_is_not_unpacked(root: Path, cache: DiskCache) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), root / "plain.nii")
    plain = (root / "plain.nii").read_bytes()
    (root / "a.nii.gz").write_bytes(gzip.compress(plain + bytes(10**7)))
    store = FolderStore(root)
    local = local_image(store, cache, "a", store.image("a").fingerprint)
    assert local.path.read_bytes() == plain
