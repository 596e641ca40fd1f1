"""The objects of one store as files, by fsspec: what they are now, page by page or one by one; fetched and created."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import Callback

from configs.errors import DamagedImageError
from infra.adapters.images.objects.faults import raise_fault
from infra.adapters.images.objects.place import ObjectKind

AT_ONCE = 32
"""Objects that are asked about at once, one request for each."""
_NAMED_ALIKE = ("generation", "ETag", "etag", "Last-Modified")
_DATED = ("LastModified", "last_modified", "updated", "Last-Modified")


class Found(NamedTuple):
    """An object as it is. `mark` changes when its content does; `changed` is ISO 8601, empty where nobody says."""

    path: str
    mark: str
    size: int
    changed: str = ""


class ObjectFiles(ABC):
    """One store's objects; a path is `bucket/key`, or an address.

    Raises: each method as `infra.adapters.images.objects.faults.raise_fault`.
    """

    kind: ObjectKind
    can_list = True
    expires: datetime | None = None
    """When the credentials say that their time is over."""

    def __init__(self, files: AsyncFileSystem, address: str) -> None:
        self._files = files
        self.address = address

    def info(self, path: str) -> Found:
        """Return an object."""
        with self._translated():
            found: Found = self._run(self._info(path))
            return found

    def infos(self, paths: Iterable[str]) -> list[Found]:
        """Return those of the objects that are there."""
        with self._translated():
            found: list[Found] = self._run(self._infos(list(paths)))
            return found

    def pages(self, prefix: str) -> Iterator[list[Found]]:
        """List the objects whose path begins with `bucket/prefix`, in as many requests as there are pages."""
        bucket, _, key = prefix.partition("/")
        listing = self._pages(bucket, key)
        with self._translated():
            while (page := self._run(anext(listing, None))) is not None:
                yield page

    def get(self, path: str, target: Path, most_bytes: int) -> None:
        """Write an object's bytes to a file.

        Raises:
            DamagedImageError: If there are more than `most_bytes`.
        """
        with self._translated():
            self._run(self._files._get_file(path, str(target), callback=_AtMost(most_bytes)))  # noqa: SLF001 - in our loop

    def read(self, path: str) -> bytes:
        """Return a small object's bytes."""
        with self._translated():
            content: bytes = self._run(self._files._cat_file(path))  # noqa: SLF001 - in our loop
            return content

    def create(self, path: str, content: bytes) -> bool:
        """Make an object whole; False, changing nothing, if there is one of this name."""
        try:
            with self._translated(writing=True):
                self._run(self._create(path, content))
        except FileExistsError:
            return False
        return True

    def put(self, path: str, source: Path) -> None:
        """Make an object of a file, whole once this returns; one of this name is replaced."""
        with self._translated(writing=True):
            self._run(self._files._put_file(str(source), path))  # noqa: SLF001 - in our loop

    def remove(self, path: str) -> None:
        """Remove an object."""
        with self._translated(writing=True):
            self._run(self._files._rm_file(path))  # noqa: SLF001 - in our loop

    @abstractmethod
    async def _head(self, path: str) -> Mapping[str, Any]:
        """Return what the store says of one object; raises FileNotFoundError if there is none."""

    @abstractmethod
    def _pages(self, bucket: str, prefix: str) -> AsyncIterator[list[Found]]:
        """Yield a bucket's objects, a page at a time."""

    async def _create(self, path: str, content: bytes) -> None:
        await self._files._pipe_file(path, content, mode="create")  # noqa: SLF001 - in our loop

    async def _info(self, path: str) -> Found:
        return found_of(path, await self._head(path))

    async def _infos(self, paths: list[str]) -> list[Found]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(path: str) -> Found | None:
            async with slots:
                try:
                    return await self._info(path)
                except FileNotFoundError:
                    return None

        return [found for found in await asyncio.gather(*map(one, paths)) if found is not None]

    def _run(self, work: Any) -> Any:
        """Run a coroutine in fsspec's own loop and thread."""

        async def done() -> Any:
            return await work

        return sync(self._files.loop, done)

    @contextmanager
    def _translated(self, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - four clients' own errors, and those of what they stand on
            expired = self.expires is not None and self.expires <= datetime.now(UTC)
            raise_fault(error, self.kind, expired=expired, writing=writing)


class _AtMost(Callback):  # type: ignore[misc]  # fsspec ships no types
    """Ends a transfer that brings more than was allowed."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def call(self, *_args: object, **_kwargs: object) -> None:
        """Look at what came so far, and at what is announced."""
        if max(self.value or 0, self.size or 0) > self._most_bytes:
            msg = f"The object has more than {self._most_bytes} bytes: split the image, or raise volume_mib"
            raise DamagedImageError(msg)


def found_of(path: str, said: Mapping[str, Any]) -> Found:
    """Return an object by what a listing or an answer about it alone says: both say the same."""
    size = said.get("size", said.get("Size"))
    named = next((said[name] for name in _NAMED_ALIKE if said.get(name)), "")
    return Found(path, f"{size}-{str(named).strip(chr(34))}", int(size or 0), _when(said))


def _when(said: Mapping[str, Any]) -> str:
    value = next((said[name] for name in _DATED if said.get(name)), "")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    try:
        return parsedate_to_datetime(str(value)).astimezone(UTC).isoformat() if "," in str(value) else str(value)
    except ValueError:
        return ""
