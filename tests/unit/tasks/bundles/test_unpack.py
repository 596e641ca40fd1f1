"""What may be unpacked as a bundle, and where it goes."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from tasks.bundles.unpack import MAX_FILES, content_hash, unpack

METADATA = json.dumps({"name": "tiny"})


def zip_of(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_a_zip_a_tar_and_a_folder_of_one_bundle_have_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(METADATA)
    (folder / ".cache").mkdir()  # as Hugging Face's client leaves it
    (folder / ".cache" / "when").write_text("today")
    archive = zip_of(tmp_path / "tiny.zip", {"tiny/configs/metadata.json": METADATA})
    with tarfile.open(tmp_path / "tiny.tar.gz", "w:gz") as tar:
        tar.add(folder, "another-name")
    found = {unpack(source, tmp_path / "bundles") for source in (folder, archive, tmp_path / "tiny.tar.gz")}
    assert len(found) == 1
    identity, unpacked = found.pop()
    assert unpacked == tmp_path / "bundles" / identity
    assert content_hash(unpacked) == identity
    assert not (unpacked / "configs" / "metadata.json").stat().st_mode & 0o222
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [identity]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_a_member_that_would_leave_the_bundle_is_refused(tmp_path: Path, name: str) -> None:
    archive = zip_of(tmp_path / "bad.zip", {"configs/metadata.json": METADATA, name: "x"})
    with pytest.raises(InvalidRequestError, match="outside the bundle"):
        unpack(archive, tmp_path / "bundles")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_links_are_refused_in_tar_zip_and_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        link = tarfile.TarInfo("configs/metadata.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    info = zipfile.ZipInfo("configs/metadata.json")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "configs").symlink_to("/etc")
    for source in (tmp_path / "bad.tar", tmp_path / "bad.zip", folder):
        with pytest.raises(InvalidRequestError, match="plain file"):
            unpack(source, tmp_path / "bundles")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "bomb.zip", {"configs/metadata.json": METADATA, "models/model.pt": "0" * 30_000_000})
    with pytest.raises(InvalidRequestError, match="200 times"):
        unpack(archive, tmp_path / "bundles")


def test_a_folder_without_or_with_two_metadata_files_is_no_bundle(tmp_path: Path) -> None:
    none = zip_of(tmp_path / "none.zip", {"a/b/configs/metadata.json": METADATA})
    two = zip_of(tmp_path / "two.zip", {f"{name}/configs/metadata.json": METADATA for name in "ab"})
    for archive, count in ((none, 0), (two, 2)):
        with pytest.raises(InvalidRequestError, match=f"{count} were found"):
            unpack(archive, tmp_path / "bundles")


def test_a_bundle_within_a_bundle_is_a_part_of_it(tmp_path: Path) -> None:
    names = [f"{top}configs/metadata.json" for top in ("", "spleen/")]
    _, unpacked = unpack(zip_of(tmp_path / "app.zip", dict.fromkeys(names, METADATA)), tmp_path / "bundles")
    assert all((unpacked / name).is_file() for name in names)


def test_what_is_no_archive_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(io.BytesIO(b"not a zip").getvalue())
    with pytest.raises(InvalidRequestError, match=r"bundle\.zip"):
        unpack(tmp_path / "bundle.zip", tmp_path / "bundles")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_of_too_many_folders_is_refused(tmp_path: Path, kind: str) -> None:
    source = tmp_path / f"bundle.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for number in range(MAX_FILES + 1):
                archive.writestr(f"{number}/", b"")
    else:
        with tarfile.open(source, "w") as tar:
            folder = tarfile.TarInfo("a")
            folder.type = tarfile.DIRTYPE
            for _ in range(MAX_FILES + 1):
                tar.addfile(folder)
    with pytest.raises(InvalidRequestError, match="20001 files and folders"):
        unpack(source, tmp_path / "bundles")
