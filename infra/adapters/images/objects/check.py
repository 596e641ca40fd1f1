"""Which of a manifest's objects are there: by pages of the listing or one by one, whichever is cheaper."""

import posixpath
import sqlite3
from collections.abc import Iterable
from itertools import islice

from configs.errors import AccessError
from infra.adapters.images.objects.faults import NotThereError
from infra.adapters.images.objects.files import AT_ONCE, Found, ObjectFiles

# Enough to keep all connections busy while the rest is still being read.
_BATCH = 2000
_TABLE = "CREATE TEMP TABLE object(path TEXT PRIMARY KEY, mark TEXT, changed TEXT) WITHOUT ROWID"
# What else a bucket holds is not kept.
_KEEP = """INSERT OR REPLACE INTO object SELECT ?1, ?2, ?3
WHERE EXISTS (SELECT 1 FROM file WHERE path = ?1) OR EXISTS (SELECT 1 FROM label WHERE path = ?1)"""
_SUMMARY = """SELECT count(*), min(path), max(path)
FROM (SELECT path FROM file UNION SELECT path FROM label WHERE path IS NOT NULL)"""
_MISSING = """SELECT path FROM file UNION SELECT path FROM label WHERE path IS NOT NULL
EXCEPT SELECT path FROM object"""


def look_at_all(table: sqlite3.Connection, files: ObjectFiles) -> None:
    """Note in the table `object` all of the manifest's objects that are there.

    A page of the listing costs one request and so do `AT_ONCE` objects asked about at once: the listing is read until
    it has cost what the other way would have, and what it has not told by then is asked for one by one. So neither
    a small manifest in a large bucket nor a large one costs more than twice what the better way costs.

    Raises:
        StoreError: If the store fails.
    """
    table.execute(_TABLE)
    if files.can_list and _listed(table, files):
        return
    missing = (path for (path,) in table.execute(_MISSING))
    while batch := list(islice(missing, _BATCH)):
        _keep(table, files.infos(batch))


def look_at(table: sqlite3.Connection, files: ObjectFiles, paths: Iterable[str]) -> None:
    """Note in the table `object` those of some objects that are there."""
    table.execute(_TABLE)
    _keep(table, files.infos(paths))


def _listed(table: sqlite3.Connection, files: ObjectFiles) -> bool:
    """List what the manifest's objects have in common, and say whether the listing came to its end."""
    count, first, last = table.execute(_SUMMARY).fetchone()
    folder = posixpath.commonpath([posixpath.dirname(first), posixpath.dirname(last)])
    if not folder:
        return False  # more than one bucket
    left = -(-count // AT_ONCE)
    try:
        for page in files.pages(f"{folder}/"):
            _keep(table, page)
            left -= 1
            if left < 0:
                return False
    except (AccessError, NotThereError):
        return False  # some credentials may read, but not list
    return True


def _keep(table: sqlite3.Connection, page: Iterable[Found]) -> None:
    table.executemany(_KEEP, ((found.path, found.mark, found.changed) for found in page))
