"""A folder's DICOM series, MetaImage files, and labels as MONAI Label keeps them."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import FileDataset

from configs.errors import ConflictError, DamagedImageError, InvalidRequestError, NotFoundError, StoreError
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.base import LabelToStore
from infra.adapters.images.folder import FolderStore
from infra.adapters.images.folder_series import FolderSeries, series_in
from infra.adapters.images.folder_tree import FolderTree
from infra.adapters.images.folder_watch import FolderWatch
from infra.adapters.images.series_watch import SeriesWatch
from tasks.images.prepare import local_image
from tasks.images.volume import read_volume
from tests.dicom_series import asymmetric, make_series, oblique_affine
from tests.processes import wait_until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def _series(folder: Path, patient: str, name: str = "IM{:05d}") -> list[FileDataset]:
    folder.mkdir(parents=True, exist_ok=True)
    made = make_series(asymmetric(), oblique_affine(), patient=patient)
    for number, instance in enumerate(made):
        instance.save_as(folder / name.format(number), enforce_file_format=True)
    return made


def _touch(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_folder_of_one_series_is_one_image_whatever_its_files_are_called(root: Path, tmp_path: Path) -> None:
    made = _series(root / "p" / "ct", "anna")
    for stray in ("._IM00000", ".DS_Store", "Thumbs.db", "notes", "DICOMDIR", "IM99999", "report.pdf"):
        _touch(root / "p" / "ct" / stray)
    store = FolderStore(root)

    [image] = store.images()

    assert (image.key, image.patient, image.study) == ("p/ct", "anna", made[0].StudyInstanceUID)
    assert image.meta["SeriesInstanceUID"] == made[0].SeriesInstanceUID
    assert image == store.image("p/ct")
    assert len(store.headers("p/ct") or []) == len(made)
    local = local_image(store, DiskCache(tmp_path / "cache", 10**9), image.key, image.fingerprint)
    volume = read_volume(local.path)
    np.testing.assert_array_equal(volume.array, asymmetric())
    np.testing.assert_allclose(volume.affine, oblique_affine(), atol=1e-4)
    assert local.headers is not None
    stored = store.put_label("p/ct", LabelToStore(id="one", path=_label(tmp_path)))
    assert store.label("p/ct", stored.key).image == "p/ct"


def _label(tmp_path: Path) -> Path:
    _touch(tmp_path / "label.nii.gz")
    return tmp_path / "label.nii.gz"


def test_several_series_in_one_folder_are_told_apart(root: Path, tmp_path: Path) -> None:
    first, second = _series(root / "p", "anna", "a{}.dcm"), _series(root / "p", "anna", "1.2.{}")
    store = FolderStore(root)
    keys = {f"p/{made[0].SeriesInstanceUID}" for made in (first, second)}

    images = {image.key: image for image in store.images()}

    assert images.keys() == keys
    assert images == {key: store.image(key) for key in keys}
    for key in keys:
        [folder] = store.fetch(key, tmp_path / key[-5:]).paths
        np.testing.assert_array_equal(read_volume(folder).array, asymmetric())
    for key in ("p", "p/1.2.3", f"../root/{keys.pop()}"):
        with pytest.raises(NotFoundError):
            store.image(key)


def test_an_image_keeps_its_id_whatever_series_come_beside_it_or_go(root: Path) -> None:
    known: dict[str, str] = {}
    store = FolderStore(root, known=lambda keys: {key: known[key] for key in keys if key in known})

    def listed() -> dict[str, str]:
        found = {image.key: image.meta["SeriesInstanceUID"] for image in store.images()}
        assert found == {key: store.image(key).meta["SeriesInstanceUID"] for key in found}
        known.update(found)
        return found

    [first] = {made.SeriesInstanceUID for made in _series(root / "p", "anna", "a{}.dcm")}
    assert listed() == {"p": first}
    [second] = {made.SeriesInstanceUID for made in _series(root / "p", "anna", "b{}.dcm")}
    assert listed() == {"p": first, f"p/{second}": second}
    for file in (root / "p").glob("a*"):
        file.unlink()
    assert listed() == {f"p/{second}": second}
    with pytest.raises(NotFoundError):
        store.image("p")
    shutil.rmtree(root / "p")
    [third] = {made.SeriesInstanceUID for made in _series(root / "p", "anna", "a{}.dcm")}
    assert listed() == {f"p/{third}": third}, "what takes the place of the first is not its image"


def test_a_series_and_a_file_do_not_take_each_other_s_id(root: Path, tmp_path: Path) -> None:
    _series(root / "p", "anna")
    _touch(root / "q.nrrd")
    _touch(tmp_path / "p.nii.gz")
    _series(tmp_path / "sent", "anna")
    store = FolderStore(root, known=lambda keys: {"r": "1.2.3"} if "r" in keys else {})
    for key, source in (("p", tmp_path / "p.nii.gz"), ("q", tmp_path / "sent"), ("r", tmp_path / "sent")):
        with pytest.raises(ConflictError, match="nothing is replaced"):
            store.put_image(key, source)
    assert sorted(path.name for path in root.iterdir()) == ["p", "q.nrrd"]


def test_a_listing_asks_for_the_images_of_many_folders_at_once(root: Path) -> None:
    for folder in ("p", "q/r", "s"):
        _series(root / folder, "anna")
    asked = list[Collection[str]]()

    def known(keys: Collection[str]) -> dict[str, str]:
        asked.append(keys)
        return {}

    assert {image.key for image in FolderStore(root, known=known).images()} == {"p", "q/r", "s"}
    assert [len(keys) for keys in asked] == [6]


def test_a_folder_s_headers_are_looked_up_once_for_all_images_of_it(root: Path, tmp_path: Path) -> None:
    for number in range(3):
        _series(root / "p", "anna", f"{number}-{{}}.dcm")
    cache, asked = DiskCache(tmp_path / "cache", 10**9), Counter[str]()

    def keep(key: str, fill: Callable[[Path], None]) -> Path:
        asked["folder"] += 1
        return cache.get("raw", key, fill)

    store = FolderStore(root, keep=keep)
    keys = [image.key for image in store.images()]
    assert [len(store.headers(key) or []) for key in keys] == [5, 5, 5]
    assert asked["folder"] == 1
    _series(root / "p", "anna", "new-{}.dcm")
    assert len(list(store.images())) == 4


def test_of_files_that_came_later_than_others_only_these_are_read(root: Path, tmp_path: Path) -> None:
    made = _series(root, "anna")
    cache, read = DiskCache(tmp_path / "cache", 10**9), list[int]()

    def keep(key: str, fill: Callable[[Path], None]) -> Path:
        def counted(folder: Path) -> None:
            fill(folder)
            [series] = json.loads(next(folder.iterdir()).read_bytes())
            read.append(len(series["files"]))

        return cache.get("raw", key, counted)

    def found() -> FolderSeries:
        entries = FolderTree(root.resolve()).files_in(PurePosixPath())
        [series] = series_in(root, entries, keep, together_s=1e-9)
        assert [series] == series_in(root, entries, None)
        return series

    assert (sum(read), found().files) == (0, [f"IM{number:05d}" for number in range(len(made))])
    assert sum(read) == len(made)
    last = max(path.stat().st_ctime_ns for path in root.iterdir())
    # The clock of the file system takes steps of milliseconds.
    wait_until(lambda: _touched(tmp_path / "clock") > last, "the file system's clock to go on")
    made[0].save_as(root / "IM00009", enforce_file_format=True)
    assert len(found().files) == len(made) + 1
    assert sum(read) == len(made) + 1


def _touched(path: Path) -> int:
    path.touch()
    return path.stat().st_ctime_ns


def test_files_of_the_root_itself_are_a_series_by_its_uid(root: Path) -> None:
    made = _series(root, "anna")
    assert [image.key for image in FolderStore(root).images()] == [made[0].SeriesInstanceUID]


def test_headers_are_read_once_until_a_file_changes(root: Path, tmp_path: Path) -> None:
    _series(root / "p", "anna")
    cache = DiskCache(tmp_path / "cache", 10**9)
    filled = Counter[str]()

    def keep(key: str, fill: Callable[[Path], None]) -> Path:
        def counted(folder: Path) -> None:
            filled["folder"] += 1
            fill(folder)

        return cache.get("raw", key, counted)

    [before] = FolderStore(root, keep=keep).images()
    assert [before] == list(FolderStore(root, keep=keep).images())
    assert filled["folder"] == 1

    (root / "p" / "IM00000").unlink()

    [after] = FolderStore(root, keep=keep).images()
    assert (after.key, filled["folder"]) == (before.key, 2)
    assert after.fingerprint != before.fingerprint


def test_a_file_that_cannot_be_read_is_passed_over(root: Path) -> None:
    _series(root, "anna")
    _touch(root / "scratch")
    entries = FolderTree(root.resolve()).files_in(PurePosixPath())
    (root / "scratch").unlink()

    [found] = series_in(root, entries, None)

    assert found.patient == "anna"


def _metaimage(path: Path, *, compressed: bool = False) -> None:
    image = SimpleITK.GetImageFromArray(asymmetric().T)
    affine = oblique_affine()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=compressed)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".mha", ".mhd"])
def test_a_metaimage_is_read_whole_wherever_its_voxels_are(
    root: Path, tmp_path: Path, ending: str, *, compressed: bool
) -> None:
    _metaimage(root / f"ct{ending}", compressed=compressed)
    store = FolderStore(root)

    [image] = store.images()
    [path] = store.fetch(image.key, tmp_path / "into").paths

    assert (image.key, path.name) == ("ct", "image.mha")
    np.testing.assert_array_equal(read_volume(path).array, asymmetric())
    np.testing.assert_allclose(read_volume(path).affine, oblique_affine(), atol=1e-4)


@pytest.mark.parametrize("named", ["../secret.raw", "/etc/passwd", "LIST", "%02d.raw 1 2 1", "gone.raw", "link.raw"])
def test_a_header_that_names_other_files_than_its_own_is_refused(root: Path, tmp_path: Path, named: str) -> None:
    (root / "p").mkdir()
    _metaimage(root / "p" / "ct.mhd")
    _touch(root / "secret.raw", bytes(500))
    (root / "p" / "link.raw").symlink_to(root / "secret.raw")
    header = root / "p" / "ct.mhd"
    header.write_text(header.read_text().replace("ct.raw", named))

    with pytest.raises(DamagedImageError, match="in no file beside it"):
        FolderStore(root).fetch("p/ct", tmp_path / "into")
    whole = tmp_path / "ct.mha"
    shutil.copy(header, whole)
    with pytest.raises(InvalidRequestError, match="names another file"):
        read_volume(whole)


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize(
    "line",
    [
        "ElementDataFile: {secret}%.0d 0 0 1=",  # to the format's own reader the voxels' place, and its last line
        "ElementDataFile : {secret}",
        "Comment = a\rElementDataFile = {secret}",
        "elementdatafile = {secret}",
        "DimSize = 4 4 4",
    ],
)
def test_a_line_that_other_readers_take_for_the_voxels_place_is_damage(
    root: Path, tmp_path: Path, line: str, ending: str
) -> None:
    _metaimage(root / f"ct{ending}")
    _touch(tmp_path / "secret.txt", b"S" * 4096)
    content = (root / f"ct{ending}").read_bytes()
    at = content.index(b"ElementDataFile")
    header = content[:at] + line.format(secret=tmp_path / "secret.txt").encode() + b"\n"
    (root / f"ct{ending}").write_bytes(header + b"ElementDataFile = LOCAL\n" + bytes(4096))

    with pytest.raises((DamagedImageError, InvalidRequestError), match="is damaged"):
        read_volume(FolderStore(root).fetch("ct", tmp_path / "into").paths[0])


def test_labels_as_monai_label_keeps_them_are_labels_whatever_their_ending(root: Path) -> None:
    for name in (
        "a.nii.gz",
        "p/b.nrrd",
        "labels/final/a.nrrd",
        "labels/original/a.nii.gz",
        "labels/version_1/a.nii.gz",
        "labels/final/p/b.mha",
        "labels/other/a.nii.gz",
        "labels/final/gone.nii.gz",
        "labels/final/._a.nii.gz",
        "datastore_v2.json",
    ):
        _touch(root / name)
    store = FolderStore(root)

    found = [(label.image, label.tag, label.automatic) for label in store.labels()]

    assert sorted(found) == [
        ("a", "final", False), ("a", "original", True), ("a", "version_1", False), ("p/b", "final", False)
    ]  # fmt: skip
    assert found[-1][1] == found[-2][1] == "final"
    assert {image.key for image in store.images()} == {"a", "p/b"}
    assert store.label("a", "labels/final/a.nrrd").image == "a"


def _watched(root: Path) -> Iterator[bool]:
    watch = FolderWatch(root)
    while True:
        yield watch.changed()


def test_a_watch_tells_of_files_and_folders_that_came_or_went_but_for_our_own(root: Path) -> None:
    for number in range(300):
        _touch(root / f"p{number % 20}" / "q" / f"{number}.nii")
    watch = _watched(root)
    assert [next(watch), next(watch)] == [True, False]

    before = (root / "p7" / "q").stat()
    _touch(root / "p7" / "q" / "new.nii")
    os.utime(root / "p7" / "q", ns=(before.st_atime_ns, before.st_mtime_ns))  # as what unpacks archives does
    assert [next(watch), next(watch)] == [True, False]
    _touch(root / "new" / "er" / "one.nii")
    assert [next(watch), next(watch)] == [True, False]
    _touch(root / "new" / "er" / "two.nii")
    assert [next(watch), next(watch)] == [True, False]
    shutil.rmtree(root / "p3")
    assert [next(watch), next(watch)] == [True, False]
    _touch(root / "teachback" / "labels" / "a" / "one.nii.gz")
    assert next(watch)  # the folder itself is new
    _touch(root / "teachback" / "labels" / "a" / "two.nii.gz")
    assert not next(watch)


@pytest.mark.parametrize("offsets", ["taken", "ignored", "refused"])
@pytest.mark.parametrize("count", [0, 1, 7, 600])
def test_a_watch_of_series_asks_little_and_tells_of_every_change(count: int, offsets: str) -> None:
    there = [str(number) for number in range(count)]
    asked: list[int] = []

    def search(filters: dict[str, str], offset: int, limit: int) -> list[str]:
        matching = there if filters["Modality"] == "CT" else []
        if offset and offsets == "refused":
            raise StoreError("The DICOMweb server answered 400")
        found = matching[offset : offset + limit] if offsets == "taken" else list(matching)
        asked.append(len(found))
        return found

    watch = SeriesWatch(search, [{"Modality": "CT"}, {"Modality": "SEG"}])
    assert watch.changed()
    asked.clear()
    assert not watch.changed()
    assert len(asked) == 2
    assert offsets != "taken" or sum(asked) <= 2

    there.append("new")
    assert [watch.changed(), watch.changed()] == [True, False]
    there.pop()
    assert [watch.changed(), watch.changed()] == [True, False]
