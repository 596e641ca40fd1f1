"""Preprocessed tensors on disk and in memory, by what they were made from."""

import hashlib
import json
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

Item = dict[str, Any]
_MEMORY_BYTES = 2 * 2**30
_KEPT_META = ("original_affine", "spatial_shape")


class TensorCache:
    """Preprocessed items, keyed by the content of their files and by how they were made.

    Args:
        folder: Where items are kept; None = in memory only.
        recipe: What the preprocessing is; another recipe gives other keys.

    Attributes:
        keep_later: Whether new items are written to disk when `keep` is called, and not before they are used.
    """

    def __init__(self, folder: Path | None, recipe: Any) -> None:
        self._folder = folder / "tensor" if folder is not None else None
        self._recipe = digest(recipe)
        self._hashes: dict[tuple[str, int, int, int], str] = {}
        self._memory: OrderedDict[str, Item] = OrderedDict()
        self._held = 0
        self.keep_later = False
        self._waiting: list[tuple[str, Item]] = []

    def get(self, files: Sequence[str], make: Callable[[], Item]) -> Item:
        """Return the item of these files, made if it is not there. Callers must not write into its tensors."""
        key = digest([self._recipe, [self._hash(file) for file in files]])
        if key in self._memory:
            self._memory.move_to_end(key)
            return dict(self._memory[key])
        item = self._read(key)
        if item is None:
            # A fresh item and one that was read back are alike to the type: batches mix them.
            packed = {name: _pack(value) for name, value in make().items() if _storable(value)}
            self._waiting.append((key, packed))
            if not self.keep_later:
                self.keep()
            item = {name: _unpack(value) for name, value in packed.items()}
        self._remember(key, item)
        return dict(item)

    def keep(self) -> None:
        """Write to disk what was made since the last call."""
        while self._waiting:
            self._write(*self._waiting.pop())

    def _hash(self, file: str) -> str:
        """Return a file's content hash, computed once while the file does not change."""
        found = Path(file).stat()
        known = (file, found.st_ino, found.st_size, found.st_mtime_ns)
        if known not in self._hashes:
            with Path(file).open("rb") as stream:
                self._hashes[known] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._hashes[known]

    def _remember(self, key: str, item: Item) -> None:
        self._memory[key] = dict(item)
        self._held += _size(item)
        # The newest stays, however large: it is about to be used.
        while self._held > _MEMORY_BYTES and len(self._memory) > 1:
            _, oldest = self._memory.popitem(last=False)
            self._held -= _size(oldest)

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / key

    def _read(self, key: str) -> Item | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            stored = torch.load(path, weights_only=True)
            os.utime(path)  # the cache evicts what was not used for longest
        except (UnpicklingError, RuntimeError, EOFError, ValueError, FileNotFoundError):
            return None  # cut short by a full disk, or evicted just now: made anew
        return {name: _unpack(value) for name, value in stored.items()}

    def _write(self, key: str, packed: Item) -> None:
        path = self._path(key)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, where giving it its name is one step; several ranks may write the same item.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix="tmp-")
        with os.fdopen(handle, "wb") as file:
            torch.save(packed, file)
        Path(name).replace(path)


def digest(value: Any) -> str:
    """Return a hash of plain nested data; objects count by their text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _size(item: Item) -> int:
    return sum(value.nbytes for value in item.values() if isinstance(value, Tensor))


def _storable(value: Any) -> bool:
    return isinstance(value, Tensor | int | float | str | bool) or value is None


def _pack(value: Any) -> Any:
    """Return what can be read back without running code: a MetaTensor as its parts."""
    if not isinstance(value, MetaTensor):
        return value
    meta = {name: torch.as_tensor(value.meta[name]) for name in _KEPT_META if name in value.meta}
    return {"tensor": value.as_tensor().clone(), "affine": value.affine, "meta": meta}


def _unpack(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MetaTensor(value["tensor"], affine=value["affine"], meta=dict(value["meta"]))
    return value
