"""A manifest written anew: a data set's own, with the labels that it has by now."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from infra.adapters.images.objects.place import SCHEMES, ObjectPlace

LABEL_KEYS = ("label", "bbox")
_IMAGES = "SELECT image.n, id, patient, cohort FROM image ORDER BY n"
_FILES = "SELECT path FROM file WHERE image = ? ORDER BY part"
_LABEL = "SELECT path, content FROM label WHERE key = ?"
_SCHEME_OF = {kind: scheme for scheme, kind in reversed(SCHEMES.items())}


def write_manifest(table: sqlite3.Connection, place: ObjectPlace, labels: Mapping[str, str]) -> Iterator[str]:
    """Write the manifest of a table, in pieces that are JSON together.

    Args:
        table: What `index_manifest` made.
        place: The manifest's place: paths are written from its folder on, which is the `root_path`.
        labels: The key of an image's label in this store, by the image's key; an image without one has none.
    """
    root = place.root.path
    top = {"root_path": _address(place, root), "label_key": LABEL_KEYS}
    yield f'{json.dumps(top)[:-1]}, "data": [\n'
    between = ""
    for number, image, patient, cohort in table.execute(_IMAGES):
        paths = [_from(place, path) for (path,) in table.execute(_FILES, (number,))]
        about = {"patient": patient, "cohort": cohort or None}
        entry = {
            "image": {"path": paths, "id": image},
            **(_label(table, place, labels[image]) if image in labels else {}),
            **{name: value for name, value in about.items() if value is not None},
        }
        yield between + json.dumps(entry, ensure_ascii=False)
        between = ",\n"
    yield "\n]}\n"


def _label(table: sqlite3.Connection, place: ObjectPlace, key: str) -> dict[str, Any]:
    """Return what stands under the label keys: an object, or a class or boxes as the manifest itself had them."""
    row = table.execute(_LABEL, (key,)).fetchone()
    if row is None:  # one of ours, which is known by its path; by its own id it can stand in another folder's manifest
        return {"label": {"path": [key], "id": PurePosixPath(key).name.partition(".")[0]}}
    path, content = row
    if content is None:
        return {"label": {"path": [_from(place, path)], "id": key}}
    said = json.loads(content)
    return {"label": said["class"]} if "class" in said else {"bbox": said["boxes"], "label": said["classes"]}


def _from(place: ObjectPlace, path: str) -> str:
    below = path.removeprefix(f"{place.root.path}/")
    return below if below != path else _address(place, path)


def _address(place: ObjectPlace, path: str) -> str:
    return path if place.root.kind == "web" else f"{_SCHEME_OF[place.root.kind]}://{path}"
