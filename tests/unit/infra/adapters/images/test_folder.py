"""A folder store keeps to its folder, to its layout, and never overwrites."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from configs.errors import (
    ConflictError,
    DamagedImageError,
    InvalidRequestError,
    NotFoundError,
    ReadOnlyStoreError,
    StorageFullError,
    StoreError,
)
from configs.specs.dataset import Channel
from infra.adapters.images.base import LabelToStore
from infra.adapters.images.folder import FolderStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def _write(path: Path, content: bytes = b"voxels") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _label(tmp_path: Path, name: str = "one", content: bytes = b"marks") -> LabelToStore:
    return LabelToStore(id=name, path=_write(tmp_path / f"{name}.nii.gz", content))


def test_volumes_of_every_kind_and_depth_are_images(root: Path) -> None:
    for name in ("a.nii", "p/b.nii.gz", "p/q/c.d.nrrd", "p/notes.txt", ".hidden.nii", "p/.git/x.nii", ".nii"):
        _write(root / name)

    images = {image.key: image for image in FolderStore(root).images()}

    assert set(images) == {"a", "p/b", "p/q/c.d"}
    assert {key: image.patient for key, image in images.items()} == {"a": None, "p/b": "p", "p/q/c.d": "p"}


def test_a_name_that_is_no_utf_8_keeps_no_other_image_from_being_listed(root: Path) -> None:
    _write(root / "p" / "a.nii")
    _write(Path(os.fsdecode(bytes(root / "p") + b"/M\xfcller.nii")))
    store = FolderStore(root)
    assert [image.key for image in store.images()] == ["p/a"]
    with pytest.raises(NotFoundError):
        store.image(os.fsdecode(b"p/M\xfcller"))


def test_a_file_that_goes_while_its_folder_is_listed_takes_nothing_else_with_it(root: Path) -> None:
    for name in ("p/a.nii", "p/b.nii", "a/c.nii", "lost+found/d.nii"):
        _write(root / name)
    images = FolderStore(root).images()
    assert next(images).key == "p/a"

    shutil.rmtree(root / "p")

    assert {image.key for image in images} - {"p/b"} == {"a/c"}


def test_labels_are_not_images_and_belong_to_theirs(root: Path) -> None:
    for name in ("p/a.nii.gz", "labels/p/a.nrrd", "labels/p/gone.nii", "teachback/labels/p/a/one.nii.gz"):
        _write(root / name)
    store = FolderStore(root)

    assert [image.key for image in store.images()] == ["p/a"]
    assert [(label.image, label.key, label.ours) for label in store.labels()] == [
        ("p/a", "labels/p/a.nrrd", False),
        ("p/a", "teachback/labels/p/a/one.nii.gz", True),
    ]
    with pytest.raises(NotFoundError):
        store.image("labels/p/a")


def test_one_id_with_two_endings_is_one_image(root: Path) -> None:
    for name in ("a.nrrd", "a.nii", "a.nii.gz"):
        _write(root / name)

    assert [image.key for image in FolderStore(root).images()] == ["a"]
    assert FolderStore(root).fetch("a", root.parent / "into").paths[0].name == "image.nii.gz"


def test_the_patient_is_the_pattern_s_first_group(root: Path) -> None:
    _write(root / "sub-07_ses-1_T1w.nii.gz")

    [image] = FolderStore(root, patient_regex=r"sub-(\d+)").images()

    assert image.patient == "07"


@pytest.mark.parametrize("pattern", ["(", "nogroup", r"(a)\1", "(?=a)(a)", f"({'a' * 200})"])
def test_a_pattern_without_meaning_is_refused(pattern: str, root: Path) -> None:
    with pytest.raises(InvalidRequestError, match="patient_regex"):
        FolderStore(root, patient_regex=pattern)


def test_a_pattern_that_takes_others_for_ever_is_read_at_once(root: Path) -> None:
    _write(root / f"{'a' * 100}!.nii")

    [image] = FolderStore(root, patient_regex=r"^((a+)+)+$").images()

    assert image.patient is None


def test_links_out_of_the_root_are_not_followed(root: Path, tmp_path: Path) -> None:
    _write(tmp_path / "outside" / "secret.nii")
    _write(root / "p" / "a.nii")
    (root / "link.nii").symlink_to(tmp_path / "outside" / "secret.nii")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "circle.nii").symlink_to(root / "circle.nii")
    (root / "inside.nii").symlink_to(root / "p" / "a.nii")
    store = FolderStore(root)

    assert {image.key for image in store.images()} == {"p/a", "inside"}
    for key in ("link", "folder/secret", "circle", "../outside/secret", str(tmp_path / "outside" / "secret")):
        with pytest.raises(NotFoundError):
            store.fetch(key, tmp_path / "into")


def test_a_label_is_not_written_through_a_link_out_of_the_root(root: Path, tmp_path: Path) -> None:
    _write(root / "a.nii")
    (tmp_path / "outside").mkdir()
    (root / "teachback").symlink_to(tmp_path / "outside")

    with pytest.raises(StoreError, match="leads out"):
        FolderStore(root).put_label("a", _label(tmp_path))
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "x" * 65])
def test_a_label_s_id_cannot_climb(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="id"):
        LabelToStore(id=name, path=tmp_path)


def test_a_changed_file_has_another_fingerprint(root: Path) -> None:
    image, label = _write(root / "a.nii"), _write(root / "labels" / "a.nii")
    store = FolderStore(root)
    before = store.image("a").fingerprint, store.label("a", "labels/a.nii").fingerprint

    image.write_bytes(b"other voxels")
    label.write_bytes(b"other")

    after = store.image("a").fingerprint, store.label("a", "labels/a.nii").fingerprint
    assert not set(before) & set(after)


def test_a_label_s_fingerprint_is_of_its_bytes_not_of_its_time(root: Path) -> None:
    _write(root / "a.nii")
    label = _write(root / "labels" / "a.nii")
    before = FolderStore(root).label("a", "labels/a.nii")

    os.utime(label, ns=(1, 1))

    after = FolderStore(root).label("a", "labels/a.nii")
    assert after.fingerprint == before.fingerprint
    assert after.changed != before.changed


def test_nothing_half_written_is_left_beside_a_label(root: Path, tmp_path: Path) -> None:
    _write(root / "a.nii")

    stored = FolderStore(root).put_label("a", _label(tmp_path))

    assert [path.name for path in (root / "teachback" / "labels" / "a").iterdir()] == ["one.nii.gz"]
    assert (root / stored.key).read_bytes() == b"marks"


def test_a_label_that_is_not_waited_for_is_whole_at_once_and_settled_by_a_second_put(
    root: Path, tmp_path: Path
) -> None:
    _write(root / "a.nii")
    label = _label(tmp_path)

    first = FolderStore(root).put_label("a", label.model_copy(update={"settle": False}))
    again = FolderStore(root).put_label("a", label)

    assert (first.settled, again.settled) == (False, True)
    assert first.key == again.key
    assert (root / first.key).read_bytes() == b"marks"


@pytest.mark.parametrize("left", [b"", b"mar"])
def test_what_a_power_cut_left_of_a_label_is_made_whole(left: bytes, root: Path, tmp_path: Path) -> None:
    _write(root / "a.nii")
    stored = FolderStore(root).put_label("a", _label(tmp_path))
    (root / stored.key).write_bytes(left)

    FolderStore(root).put_label("a", _label(tmp_path))

    assert (root / stored.key).read_bytes() == b"marks"


@pytest.mark.parametrize("theirs", [b"mor", b"marks of mine", b"skram"])
def test_what_somebody_made_of_a_label_stays(theirs: bytes, root: Path, tmp_path: Path) -> None:
    _write(root / "a.nii")
    stored = FolderStore(root).put_label("a", _label(tmp_path))
    (root / stored.key).write_bytes(theirs)

    with pytest.raises(ConflictError):
        FolderStore(root).put_label("a", _label(tmp_path))
    assert (root / stored.key).read_bytes() == theirs


def test_a_folder_that_goes_away_while_it_is_listed_does_not_say_that_its_images_are_gone(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        _write(tmp_path / "images" / name / "ct.nii.gz")
    store = FolderStore(tmp_path / "images")
    listing = store.images()
    next(listing)
    (tmp_path / "images").rename(tmp_path / "away")
    with pytest.raises(StoreError):
        list(listing)


def test_a_vanished_folder_is_a_store_s_fault_and_names_no_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        FolderStore(tmp_path / "mueller-anna")
    assert "mueller" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(root: Path, tmp_path: Path) -> None:
    _write(root / "a.nii")
    root.chmod(0o500)
    try:
        with pytest.raises(ReadOnlyStoreError):
            FolderStore(root).put_label("a", _label(tmp_path))
    finally:
        root.chmod(0o700)


def test_a_folder_of_twelve_thousand_files_is_listed_whole(root: Path) -> None:
    for patient in range(12):
        folder = root / f"p{patient}"
        folder.mkdir()
        for number in range(1_000):
            (folder / f"{number}.nii").touch()

    patients = Counter(image.patient for image in FolderStore(root).images())

    assert patients == {f"p{patient}": 1_000 for patient in range(12)}


@pytest.mark.parametrize(
    ("suffixes", "files", "keys"),
    [
        (("_0000", "_0001"), ("a_0000.nii.gz", "a_0001.nii", "b_0000.nii"), ("a", "b")),
        (("-t1", "-t2"), ("p/p-t1.nii.gz", "p/p-t2.nii.gz", "p/p-seg.nii.gz", "q/q-t2.nii.gz"), ("p/p", "q/q")),
        (("/t1", "/t2"), ("p/t1.nrrd", "p/t2.nii.gz", "q/t1.nii.gz", "t1.nii"), ("p", "q")),
    ],
)
def test_files_that_share_a_name_or_a_folder_are_one_image_s_channels(
    root: Path, tmp_path: Path, suffixes: tuple[str, ...], files: tuple[str, ...], keys: tuple[str, str]
) -> None:
    for name in files:
        _write(root / name, name.encode())
    _write(root / "labels" / f"{keys[0]}.nii.gz")
    store = FolderStore(root, channels=[Channel(name=suffix[-2:], suffix=suffix) for suffix in suffixes])

    images = {image.key: image for image in store.images()}

    assert set(images) == {*keys}
    assert images == {key: store.image(key) for key in keys}
    assert images[keys[0]].skipped == ""
    assert images[keys[1]].skipped.startswith("missing: no file of channel ")
    fetched = store.fetch(keys[0], tmp_path / "into")
    assert [path.read_bytes().decode() for path in fetched.paths] == list(files[:2])
    assert [label.image for label in store.labels()] == [keys[0]]
    assert store.put_label(keys[0], _label(tmp_path)).image == keys[0]
    with pytest.raises(DamagedImageError, match="no file of the image's channel"):
        store.fetch(keys[1], tmp_path / "other")
    for key in (f"{keys[0]}{suffixes[0]}", "labels/a", "../root/a"):
        with pytest.raises(NotFoundError):
            store.image(key)
    _write(root / files[1], b"others")
    assert store.image(keys[0]).fingerprint != images[keys[0]].fingerprint
    assert store.identity != FolderStore(root).identity


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ([{"name": "a", "suffix": "_t1"}, {"name": "b", "suffix": "1"}], "ends in '1', too"),
        ([{"name": "a", "suffix": "_1"}, {"name": "a", "suffix": "_2"}], "two have one name"),
        ([{"name": "a", "SeriesDescription": "*T1*"}], 'is {"name": …, "suffix": "_0000"}'),
        ([{"name": "a"}], 'is {"name": …, "suffix": "_0000"}'),
    ],
)
def test_channels_that_cannot_be_told_apart_are_refused(root: Path, channels: list[dict[str, str]], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(said)):
        FolderStore(root, channels=[Channel.model_validate(channel) for channel in channels])


@pytest.mark.parametrize(("there", "sent"), [("p1.nrrd", "p1.nii.gz"), ("p1.nii.gz", "p1.nrrd"), ("p1.NII", "p1.nii")])
def test_an_image_of_one_ending_is_not_replaced_by_one_of_another(
    root: Path, tmp_path: Path, there: str, sent: str
) -> None:
    _write(root / there)
    store = FolderStore(root)
    with pytest.raises(ConflictError, match="nothing is replaced"):
        store.put_image("p1", _write(tmp_path / sent, b"others"))
    assert [path.name for path in root.iterdir()] == [there]
    assert store.put_image("p1", _write(tmp_path / there)).key == "p1", "the same again changes nothing"


def test_an_image_that_would_fill_the_disk_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageFullError, match="MiB left"):
        FolderStore(root, keep_free_bytes=2**60).put_image("p/1", _write(tmp_path / "sent.nii"))
    assert not list(root.iterdir())


def test_what_a_killed_put_left_is_swept_a_day_later_and_nothing_else(root: Path) -> None:
    names = [f".{'a' * 32}.tmp", f".{'b' * 32}.tmp/1.dcm", f".{'c' * 32}.tmp", ".theirs.tmp", "p/a.nii"]
    for name in names:
        _write(root / name)
        if "c" * 32 not in name:
            os.utime(root / Path(name).parts[0], (0, 0))
    assert [image.key for image in FolderStore(root).images()] == ["p/a"]
    assert sorted(path.name for path in root.iterdir()) == [f".{'c' * 32}.tmp", ".theirs.tmp", "p"]
