"""Looking for a manifest's objects costs what the cheaper way costs, or twice that."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from configs.errors import AccessError
from infra.adapters.images.objects.check import look_at_all
from infra.adapters.images.objects.files import AT_ONCE, Found, ObjectFiles

PAGE = 1000


class Shelf(ObjectFiles):
    """Objects in memory, which counts what it is asked."""

    kind = "s3"

    def __init__(self, held: Iterable[str], *, lists: bool = True) -> None:
        self._held = sorted(held)
        self._lists = lists
        self.pages_read = self.asked = 0

    def pages(self, prefix: str) -> Iterator[list[Found]]:
        if not self._lists:
            raise AccessError("may not list")
        found = [path for path in self._held if path.startswith(prefix)]
        for first in range(0, len(found), PAGE):
            self.pages_read += 1
            yield [Found(path, "mark", 1) for path in found[first : first + PAGE]]

    def infos(self, paths: Iterable[str]) -> list[Found]:
        asked = list(paths)
        self.asked += len(asked)
        return [Found(path, "mark", 1) for path in asked if path in set(self._held)]

    async def _head(self, path: str) -> Mapping[str, Any]:
        raise NotImplementedError

    def _pages(self, bucket: str, prefix: str) -> Any:
        raise NotImplementedError


def _looked(wanted: Iterable[str], shelf: Shelf, tmp_path: Path) -> set[str]:
    with sqlite3.connect(tmp_path / "manifest.db") as table:
        table.execute("CREATE TABLE file(image INTEGER, part INTEGER, path TEXT)")
        table.execute("CREATE TABLE label(key TEXT, image INTEGER, path TEXT, content TEXT)")
        table.executemany("INSERT INTO file VALUES (1, 0, ?)", ((path,) for path in wanted))
        look_at_all(table, shelf)
        return {path for (path,) in table.execute("SELECT path FROM object")}


def test_a_manifest_of_all_that_is_there_is_listed(tmp_path: Path) -> None:
    held = [f"bucket/set/{number:05d}.nii" for number in range(3500)]
    shelf = Shelf(held)
    assert _looked([*held[:3000], "bucket/set/gone.nii"], shelf, tmp_path) == set(held[:3000])
    assert (shelf.pages_read, shelf.asked) == (4, 0)


def test_a_small_manifest_in_a_large_bucket_is_asked_for_one_by_one(tmp_path: Path) -> None:
    held = [f"bucket/set/{number:06d}.nii" for number in range(50_000)]
    wanted = held[:: 50_000 // AT_ONCE]
    shelf = Shelf(held)
    assert _looked(wanted, shelf, tmp_path) == set(wanted)
    assert shelf.pages_read <= 1 + -(-len(wanted) // AT_ONCE)
    assert shelf.asked <= len(wanted)


@pytest.mark.parametrize("others", [[], ["elsewhere/x.nii"]])
def test_what_may_not_be_listed_or_lies_in_two_buckets_is_asked_for(others: list[str], tmp_path: Path) -> None:
    held = ["bucket/a.nii", "bucket/b.nii", *others]
    shelf = Shelf(held, lists=bool(others))
    assert _looked([*held, "bucket/gone.nii"], shelf, tmp_path) == set(held)
    assert (shelf.pages_read, shelf.asked) == (0, len(held) + 1)
