"""A new attempt goes on from the newest whole checkpoint of its own snapshot."""

from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from infra.adapters.artifacts.attempts import newest_checkpoint, save_checkpoint
from infra.adapters.artifacts.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


def _save(blobs: Blobs, attempt: int, epoch: int, snapshot: str = "s", content: bytes = b"state") -> Path:
    folder = blobs.attempt_folder("job", attempt)
    (folder / "new").write_bytes(content)
    return save_checkpoint(folder, folder / "new", epoch=epoch, snapshot=snapshot)


def test_the_newest_of_all_attempts_so_far_is_found(blobs: Blobs, tmp_path: Path) -> None:
    _save(blobs, 1, 3)
    best = _save(blobs, 2, 5)
    _save(blobs, 3, 9)

    found = newest_checkpoint(tmp_path / "attempts" / "job", up_to=2, snapshot="s")

    assert found is not None
    assert (found.path, found.epoch, found.attempt) == (best, 5, 2)


def test_another_snapshot_s_checkpoint_is_not_taken(blobs: Blobs, tmp_path: Path) -> None:
    _save(blobs, 1, 3, snapshot="other")

    assert newest_checkpoint(tmp_path / "attempts" / "job", up_to=1, snapshot="s") is None


def test_a_checkpoint_without_note_or_with_other_bytes_is_not_there(blobs: Blobs, tmp_path: Path) -> None:
    whole = _save(blobs, 1, 1)
    _save(blobs, 1, 2).write_bytes(b"torn")
    (whole.parent / "3.ckpt").write_bytes(b"state")
    (whole.parent / "4.json").write_text("{")

    found = newest_checkpoint(tmp_path / "attempts" / "job", up_to=1, snapshot="s")

    assert found is not None
    assert found.epoch == 1


def test_the_newest_two_are_kept(blobs: Blobs) -> None:
    for epoch in (1, 2, 10):
        last = _save(blobs, 1, epoch)

    assert sorted(path.name for path in last.parent.iterdir()) == ["10.ckpt", "10.json", "2.ckpt", "2.json"]


def test_a_link_is_no_checkpoint(blobs: Blobs, tmp_path: Path) -> None:
    folder = blobs.attempt_folder("job", 1)
    (tmp_path / "secret").write_text("key")
    (folder / "new").symlink_to(tmp_path / "secret")

    with pytest.raises(InvalidRequestError):
        save_checkpoint(folder, folder / "new", epoch=1, snapshot="s")
    assert newest_checkpoint(tmp_path / "attempts" / "job", up_to=1, snapshot="s") is None
