"""An archive is made while it is sent."""

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from configs.errors import CorruptError
from tasks.results.archive import Packed, tar_gz

MIB = 2**20


def _read(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        opened = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in opened.items() if file is not None}


def _packed(name: str, path: Path) -> Packed:
    return Packed(name, lambda: path.open("rb"))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, MIB, MIB + 1])
def test_files_of_any_size_and_name_come_back(tmp_path: Path, size: int) -> None:
    held = {"a": b"\7" * size, f"{'deep/' * 40}ä {size}.bin": b"x" * 700}
    for number, content in enumerate(held.values()):
        (tmp_path / str(number)).write_bytes(content)

    packed = [_packed(name, tmp_path / str(number)) for number, name in enumerate(held)]

    assert _read(b"".join(tar_gz(packed, 9.5))) == held
    assert b"".join(tar_gz(packed, 9.5)) == b"".join(tar_gz(packed, 9.5))


def test_a_file_that_is_open_already_is_read_though_its_name_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"kept")
    file = (tmp_path / "a").open("rb")
    (tmp_path / "a").unlink()

    assert _read(b"".join(tar_gz([Packed("a", lambda: file)], 0))) == {"a": b"kept"}
    assert file.closed


def test_memory_holds_a_piece_of_a_file_and_not_the_file(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200 * MIB)

    tracemalloc.start()
    sent = sum(map(len, tar_gz([_packed("large", large)], 0)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sent > 0
    assert most < 8 * MIB


def test_a_file_that_becomes_shorter_breaks_the_archive_off(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3 * MIB))
    pieces = tar_gz([_packed("a", tmp_path / "a")], 0)
    next(pieces)
    (tmp_path / "a").write_bytes(b"")

    with pytest.raises(CorruptError, match="became shorter"):
        list(pieces)
