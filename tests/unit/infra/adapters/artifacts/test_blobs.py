"""Our own files are what their names say, or are refused."""

import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from configs.errors import CorruptError, InvalidRequestError, NotFoundError
from infra.adapters.artifacts.blobs import Blobs
from tests.processes import wait_until

CONTENT = b"weights" * 1_000
DAY_S = 86400.0
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "artifacts")


def test_what_was_put_is_read_back_under_its_hash(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)

    assert blobs.put_file(tmp_path / "file") == blobs.put_bytes(CONTENT) == SHA256
    assert blobs.read_bytes(SHA256) == CONTENT
    assert blobs.path(SHA256) == tmp_path / "artifacts" / "blobs" / "sha256" / SHA256[:2] / SHA256
    assert list(blobs.hashes()) == [SHA256]


def test_what_comes_in_can_be_read_before_it_is_stored(blobs: Blobs) -> None:
    with blobs.putting(BytesIO(CONTENT)) as incoming:
        assert incoming.file.result().read_bytes() == CONTENT
        assert incoming.sha256.result() == SHA256
        assert list(blobs.hashes()) == []

    assert blobs.read_bytes(SHA256) == CONTENT


def test_of_what_is_refused_while_it_comes_in_nothing_is_left(blobs: Blobs) -> None:
    with pytest.raises(KeyError), blobs.putting(BytesIO(CONTENT)):
        raise KeyError

    assert list(blobs.hashes()) == []
    assert blobs.drop_partial(older_than_s=0) == 0


def test_no_bytes_at_all_are_content_too(blobs: Blobs) -> None:
    assert blobs.read_bytes(blobs.put_bytes(b"")) == b""


def test_damaged_bytes_are_found_out_also_after_a_good_read(blobs: Blobs) -> None:
    path = blobs.path(blobs.put_bytes(CONTENT))
    path.chmod(0o600)
    path.write_bytes(CONTENT[:-1] + b"?")

    with pytest.raises(CorruptError, match=SHA256):
        blobs.path(SHA256)


def test_putting_again_heals_damage(blobs: Blobs) -> None:
    path = blobs.path(blobs.put_bytes(CONTENT))
    path.chmod(0o600)
    path.write_bytes(b"damage")

    blobs.put_bytes(CONTENT)

    assert blobs.read_bytes(SHA256) == CONTENT


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", SHA256.upper()])
def test_what_is_not_there_is_not_found(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFoundError):
        blobs.path(name)


def test_a_link_or_a_pipe_is_no_file_to_store(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")

    for name in ("link", "pipe", "nothing"):
        with pytest.raises(InvalidRequestError, match="regular files"):
            blobs.put_file(tmp_path / name)
    with pytest.raises(InvalidRequestError):
        blobs.put_file(tmp_path)
    assert list(blobs.hashes()) == []


def test_a_deleted_blob_is_gone(blobs: Blobs) -> None:
    blobs.put_bytes(CONTENT)

    blobs.delete(SHA256)
    blobs.delete(SHA256)

    with pytest.raises(NotFoundError):
        blobs.read_bytes(SHA256)


def test_no_partial_file_is_left(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put_bytes(CONTENT)

    files = sorted(path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file())
    assert files == [SHA256, "sweep.lock"]


def test_what_is_removed_for_its_age_is_left_once_it_was_put_again(blobs: Blobs) -> None:
    blobs.put_bytes(CONTENT)
    os.utime(blobs.path(SHA256), (0, 0))
    assert list(blobs.hashes(older_than_s=DAY_S)) == [SHA256]

    blobs.put_bytes(CONTENT)

    assert not blobs.delete(SHA256, older_than_s=DAY_S)
    assert list(blobs.hashes(older_than_s=DAY_S)) == []
    assert blobs.read_bytes(SHA256) == CONTENT


def test_a_put_that_meets_a_removal_waits_for_its_end(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put_bytes(CONTENT)
    lock = tmp_path / "artifacts" / "blobs" / "sha256" / "sweep.lock"
    with lock.open("r+b") as removal, ThreadPoolExecutor(1) as pool:
        fcntl.flock(removal, fcntl.LOCK_EX)
        put = pool.submit(blobs.put_bytes, CONTENT)
        wait_until(lambda: any(lock.parent.glob("tmp-*")), "the put to begin")
        blobs.path(SHA256).unlink()
        assert not put.done()
        fcntl.flock(removal, fcntl.LOCK_UN)
        assert put.result() == SHA256
    assert blobs.read_bytes(SHA256) == CONTENT


def test_what_a_killed_put_began_goes_when_it_is_old(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put_bytes(CONTENT)
    begun = [tmp_path / "artifacts" / "blobs" / "sha256" / f"tmp-{name}" for name in ("old", "new")]
    for path in begun:
        path.write_bytes(b"half")
    os.utime(begun[0], (0, 0))

    assert blobs.drop_partial(older_than_s=DAY_S) == 1
    assert [path.exists() for path in begun] == [False, True]


@pytest.mark.parametrize(("job", "attempt"), [("../x", 1), ("", 1), ("a", 0)])
def test_an_attempt_s_folder_stays_where_it_belongs(blobs: Blobs, job: str, attempt: int) -> None:
    with pytest.raises(InvalidRequestError):
        blobs.attempt_folder(job, attempt)
