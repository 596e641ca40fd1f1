"""A manifest: which objects are images, and which labels are known of them; read as a stream into a table on this host.

{"root_path": "…", "label_key": ["label"], "data": [
  {"image": {"path": ["…"], "id": "…"}, "label": {"path": ["…"], "id": "…"}, "patient": "…", "cohort": "…"}, …]}

A `root_path` is an address of the same store, or relative to the manifest's folder, which it is by default. What stands
under a label key is a mask's object, or the class or the boxes themselves.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import ijson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from configs.errors import StoreError
from infra.adapters.images.objects.place import Endpoints, Location, ObjectPlace, location_of

FORMAT = "manifest-1"
"""Part of the cache's key: changes when the table does."""
TABLE = "manifest.db"
_CHUNK_BYTES = 2**20
_NOTHING: tuple[object, ...] = (None, "", [], {})
_PLAIN = frozenset({"image", "patient", "cohort"})
# Whoever is killed while it is written leaves nothing behind: the folder is then no entry of the cache.
_SCHEMA = """
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
CREATE TABLE image(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, patient TEXT, cohort TEXT NOT NULL);
CREATE TABLE file(image INTEGER, part INTEGER, path TEXT NOT NULL, PRIMARY KEY(image, part)) WITHOUT ROWID;
CREATE TABLE label(key TEXT PRIMARY KEY, image INTEGER NOT NULL, path TEXT, content TEXT);
"""
_INDEXES = "CREATE INDEX file_path ON file(path); CREATE INDEX label_path ON label(path);"


class _Object(BaseModel):
    """One or more objects, and the id that they have together."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    path: list[str] = Field(min_length=1)
    id: str = Field(default="", max_length=1024)

    @field_validator("path", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


class _Entry(BaseModel):
    """One entry, as far as all have it."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    image: _Object
    patient: str | None = None
    cohort: str | None = None


class Label(NamedTuple):
    """A label that a manifest names: the object of a mask, or the JSON that stands there itself."""

    key: str
    path: str | None = None
    content: str | None = None


def index_manifest(source: Path, target: Path, place: ObjectPlace, endpoints: Endpoints) -> None:
    """Read a manifest into a new table.

    Raises:
        StoreError: If it is no such manifest, or names a place in another store.
    """
    try:
        root = _first(source, "root_path")
        label_key = _first(source, "label_key") or ["label"]
        keys = [label_key] if isinstance(label_key, str) else [str(key) for key in label_key]
        within = _Within(place.root, endpoints, str(root or ""))
        with closing(sqlite3.connect(target)) as table:
            table.executescript(_SCHEMA)
            taken = sum(_take_in(table, entry, keys, within) for entry in _entries(source))
            table.executescript(_INDEXES)
    except (ijson.JSONError, UnicodeError, TypeError):
        raise StoreError("The manifest cannot be read as JSON of the known form: correct it") from None
    if not taken:
        raise StoreError("Must provide samples in the data dict of the manifest file: image.path and image.id of each")


def _first(source: Path, name: str) -> Any:
    with source.open("rb") as file:
        return next(ijson.items(file, name, buf_size=_CHUNK_BYTES), None)


def _entries(source: Path) -> Iterator[Any]:
    with source.open("rb") as file:
        yield from ijson.items(file, "data.item", use_float=True, buf_size=_CHUNK_BYTES)


def _take_in(table: sqlite3.Connection, said: Any, keys: list[str], within: "_Within") -> int:
    """Write one entry; 0 if it has no image, which is no sample."""
    try:
        entry = _Entry.model_validate(said)
    except ValidationError:
        return 0
    if not entry.image.id or not all(entry.image.path):
        return 0
    paths = [within.path(path) for path in entry.image.path]
    row = (entry.image.id, entry.patient, entry.cohort or "")
    made = table.execute("INSERT OR IGNORE INTO image(id, patient, cohort) VALUES (?, ?, ?)", row)
    if made.rowcount:
        number = made.lastrowid
        files = ((number, part, path) for part, path in enumerate(paths))
        table.executemany("INSERT INTO file VALUES (?, ?, ?)", files)
    else:
        (number,) = table.execute("SELECT n FROM image WHERE id = ?", (entry.image.id,)).fetchone()
        known = [path for (path,) in table.execute("SELECT path FROM file WHERE image = ? ORDER BY part", (number,))]
        if known != paths:
            raise StoreError("The manifest gives one image.id to different images: give each its own")
    for label in _labels(entry.image.id, said, keys, within):
        made = table.execute("INSERT OR IGNORE INTO label VALUES (?, ?, ?, ?)", (label.key, number, *label[1:]))
        if not made.rowcount and _said_of(table, label.key) != (number, *label[1:]):
            raise StoreError("The manifest gives one label.id to different labels: give each its own")
    return 1


def _said_of(table: sqlite3.Connection, key: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = table.execute("SELECT image, path, content FROM label WHERE key = ?", (key,)).fetchone()
    return row


def _labels(image: str, said: Mapping[str, Any], keys: list[str], within: "_Within") -> Iterator[Label]:
    plain = {}
    for key in keys:
        value = said.get(key)
        if isinstance(value, dict) and "path" in value:
            try:
                stored = _Object.model_validate(value)
            except ValidationError:
                continue
            if stored.path[0]:
                path = within.path(stored.path[0])
                yield Label(stored.id or path, path=path)
        elif value not in _NOTHING and key not in _PLAIN:
            plain[key] = value
    if plain:
        yield Label(f"manifest:{image}", content=json.dumps(_structured(plain), sort_keys=True))


def _structured(plain: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a class, or boxes with their classes, in the form that labels have here; 0 is a class.

    What is neither comes as it stands: whoever takes labels in says that it cannot be read.
    """
    boxes = next((value for value in plain.values() if _is_boxes(value)), None)
    others = [value for value in plain.values() if value is not boxes]
    if boxes is not None:
        classes = next((value for value in others if isinstance(value, list)), [0] * len(boxes))
        return {"boxes": boxes, "classes": classes}
    one = next((value[0] if isinstance(value, list) and len(value) == 1 else value for value in others), None)
    return {"class": one} if isinstance(one, int) and not isinstance(one, bool) else plain


def _is_boxes(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(box, list) for box in value)


class _Within:
    """Resolves a manifest's paths; none may leave the store that the data set's credentials are for."""

    def __init__(self, folder: Location, endpoints: Endpoints, root: str) -> None:
        self._folder, self._endpoints = folder, endpoints
        self._root = self.path(root, under=folder.path) if root else folder.path

    def path(self, said: str, under: str = "") -> str:
        """Return an object's path.

        Raises:
            StoreError: If it lies in another store, or climbs.
        """
        if "://" in said:
            found = location_of(said, self._endpoints)
            if found is None or not self._folder.same_store(found):
                raise StoreError("The manifest names an object of another store: a data set's objects are all in one")
            return found.path
        plain = said.strip("/")
        if ".." in plain.split("/"):
            raise StoreError("A path of the manifest climbs with '..': write it from root_path on")
        return f"{under or self._root}/{plain}" if plain else under or self._root
