"""The cache fills once, evicts what nobody uses, and shows nothing half-filled, whatever processes do."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.adapters.cache.disk import SYNCED, DiskCache

ROOM = 10**6
FILLER = """
import os, sys
from pathlib import Path
from infra.adapters.cache.disk import DiskCache

cache = DiskCache(Path(sys.argv[1]), int(sys.argv[2]))
fills = Path(sys.argv[3])

def fill(key, folder):
    with fills.open("a") as log:
        log.write(key + "\\n")
    for part in range(4):
        (folder / str(part)).write_bytes(key.encode() * 250)

sys.stdin.readline()
for turn in range(int(sys.argv[4])):
    for number in range(5):
        key = f"key{number}"
        with cache.pin() as pin:
            folder = pin.get("raw", key, lambda folder: fill(key, folder))
            for part in range(4):
                assert (folder / str(part)).read_bytes() == key.encode() * 250
"""


def _write(content: bytes, folder: Path) -> None:
    (folder / "a").write_bytes(content)


def _race(cache: Path, max_bytes: int, fills: Path, turns: int) -> None:
    """Let four processes use the same five keys at once; each checks every byte that it reads."""
    command = [sys.executable, "-c", FILLER, str(cache), str(max_bytes), str(fills), str(turns)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 4


def test_an_entry_is_filled_once_and_found_again(tmp_path: Path) -> None:
    cache, fills = DiskCache(tmp_path, ROOM), []

    def fill(folder: Path) -> None:
        fills.append(folder)
        _write(b"voxels", folder)

    first, second = cache.get("raw", "1.2/3 ../x", fill), cache.get("raw", "1.2/3 ../x", fill)

    assert first == second == cache.find("raw", "1.2/3 ../x")
    assert (first / "a").read_bytes() == b"voxels"
    assert len(fills) == 1
    assert first.is_relative_to(tmp_path / "raw")


def test_threads_that_want_one_entry_fill_it_once(tmp_path: Path) -> None:
    cache, fills = DiskCache(tmp_path, ROOM), []

    def fill(folder: Path) -> None:
        fills.append(folder)
        _write(b"voxels", folder)

    with ThreadPoolExecutor(8) as pool:
        folders = {*pool.map(lambda _: cache.get("tensor", "a", fill), range(40))}

    assert len(folders) == len(fills) == 1


def test_processes_that_want_the_same_entries_fill_each_once(tmp_path: Path) -> None:
    _race(tmp_path / "cache", ROOM, tmp_path / "fills", turns=3)

    assert sorted((tmp_path / "fills").read_text().split()) == [f"key{number}" for number in range(5)]


def test_eviction_under_several_processes_never_takes_a_pinned_or_shows_a_partial_entry(tmp_path: Path) -> None:
    _race(tmp_path / "cache", 8_000, tmp_path / "fills", turns=12)

    left = sum(path.stat().st_size for path in (tmp_path / "cache" / "raw").rglob("*") if path.is_file())
    assert left <= 8_000 + 4 * 4_000  # each process may hold one more in use


def test_a_failed_fill_leaves_nothing_and_the_next_one_tries_again(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ROOM)

    def fail(folder: Path) -> None:
        _write(b"half", folder)
        raise OSError("the store went away")

    with pytest.raises(OSError, match="went away"):
        cache.get("raw", "a", fail)
    assert cache.find("raw", "a") is None
    assert list((tmp_path / "raw").glob("*/*")) == []
    assert (cache.get("raw", "a", lambda folder: _write(b"whole", folder)) / "a").read_bytes() == b"whole"


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 3_500)
    for key in ("a", "b", "c"):
        folder = cache.get("raw", key, lambda folder: _write(b"x" * 1_000, folder))
        cache.settle()  # marking it as synced touches it
        os.utime(folder, ns=(0, 1_000 + ord(key)))
    cache.get("raw", "a", lambda folder: _write(b"never", folder))

    cache.get("prediction", "d", lambda folder: _write(b"x" * 1_000, folder))

    assert [key for key in "abc" if cache.find("raw", key)] == ["a", "c"]
    assert cache.find("prediction", "d") is not None


def test_a_pinned_entry_stays_until_its_pin_is_closed(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1_500)
    with cache.pin() as pin:
        folder = pin.get("raw", "a", lambda folder: _write(b"x" * 1_000, folder))
        for key in ("b", "c"):
            cache.get("raw", key, lambda folder: _write(b"x" * 1_000, folder))
        assert (folder / "a").exists()

    cache.get("raw", "d", lambda folder: _write(b"x" * 1_000, folder))
    assert not folder.exists()


def test_an_entry_larger_than_the_cache_is_still_given(tmp_path: Path) -> None:
    folder = DiskCache(tmp_path, 10).get("raw", "a", lambda folder: _write(b"x" * 1_000, folder))

    assert (folder / "a").stat().st_size == 1_000


def test_what_a_killed_process_left_is_swept_and_its_pins_end(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from infra.adapters.cache.disk import DiskCache
cache = DiskCache(Path(sys.argv[1]), 1500)
def fill(folder):
    (folder / "a").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), 9)
with cache.pin() as pin:
    pin.get("raw", "whole", lambda folder: (folder / "a").write_bytes(b"x" * 1000))
    pin.get("raw", "half", fill)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    cache = DiskCache(tmp_path, 1_500)
    assert cache.find("raw", "half") is None

    cache.get("raw", "new", lambda folder: _write(b"x" * 1_000, folder))

    assert cache.find("raw", "whole") is None
    assert [path.name for path in (tmp_path / "raw").glob("*/.*")] == []
    assert list((tmp_path / "pins").iterdir()) == []


def test_an_entry_outlives_a_killed_process_before_it_was_synced(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from infra.adapters.cache.disk import DiskCache
DiskCache(Path(sys.argv[1]), 10**6).get("raw", "a", lambda folder: (folder / "a").write_bytes(b"voxels") and None)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    cache = DiskCache(tmp_path, ROOM)

    found = cache.find("raw", "a")

    assert found is not None
    assert (cache.get("raw", "a", lambda _: pytest.fail("filled again")) / "a").read_bytes() == b"voxels"


def test_an_entry_is_marked_once_it_is_on_the_disk(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ROOM)
    folder = cache.get("raw", "a", lambda folder: _write(b"voxels", folder))

    cache.settle()

    assert sorted(path.name for path in folder.iterdir()) == [SYNCED, "a"]


@pytest.mark.parametrize("mark", [".unsynced-another-boot", None])
def test_what_a_power_cut_left_of_an_entry_is_filled_again(tmp_path: Path, mark: str | None) -> None:
    cache = DiskCache(tmp_path, ROOM)
    folder = cache.get("raw", "a", lambda folder: _write(b"voxels", folder))
    cache.settle()
    (folder / "a").write_bytes(b"")  # its name was on the disk, and its bytes were not
    if mark is None:
        (folder / SYNCED).unlink()
    else:
        (folder / SYNCED).rename(folder / mark)
    restarted = DiskCache(tmp_path, ROOM)

    assert restarted.find("raw", "a") is None
    again = restarted.get("raw", "a", lambda folder: _write(b"voxels", folder))

    assert (again / "a").read_bytes() == b"voxels"
    assert not (again / ".unsynced-another-boot").exists()


def test_an_entry_that_goes_before_it_is_synced_harms_nobody(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ROOM)
    for number in range(20):
        cache.get("raw", str(number), lambda folder: _write(b"x" * 1_000, folder))
        cache.drop("raw", str(number))
        cache.get("raw", str(number), lambda folder: _write(b"y" * 1_000, folder))

    cache.settle()

    found = [cache.find("raw", str(number)) for number in range(20)]
    assert all(folder is not None and (folder / SYNCED).exists() for folder in found)


@pytest.mark.parametrize("syncs", [True, False])
def test_an_entry_that_cannot_be_synced_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture, *, syncs: bool) -> None:
    """Syncing a file of /proc is EINVAL, as folders are on some file systems; opening a pipe as a folder ENOTDIR."""
    cache = DiskCache(tmp_path, ROOM)

    def fill(folder: Path) -> None:
        if syncs:
            (folder / "a").symlink_to("/proc/self/status")
        else:
            os.mkfifo(folder / "a")

    with cache.pin() as pin:
        for key in ("a", "b"):
            folder = pin.get("raw", key, fill)
        cache.settle()

        assert cache.find("raw", "b") == folder
        assert (folder / SYNCED).exists() is syncs
    assert sum(("EINVAL" if syncs else "ENOTDIR") in line for line in caplog.messages) == 1
    assert str(tmp_path) not in caplog.text


def test_a_dropped_entry_is_gone(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ROOM)
    cache.get("raw", "a", lambda folder: _write(b"x", folder))

    cache.drop("raw", "a")
    cache.drop("raw", "a")

    assert cache.find("raw", "a") is None
