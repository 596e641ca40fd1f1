"""Catalogs for machines of rules: a new one for every example, on SQLite, that need not outlive a power cut."""

import shutil
from itertools import count
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from sqlalchemy import event

from infra.adapters.catalog.session import Catalog

_numbers = count()


class Quick:
    """Where a machine's catalogs come from; a test sets it before the machine runs."""

    template: Path
    folder: Path

    @classmethod
    def catalog(cls) -> Catalog:
        """Return a migrated, empty catalog."""
        path = cls.folder / f"{next(_numbers)}.db"
        shutil.copyfile(cls.template, path)
        made = Catalog(f"sqlite+pysqlite:///{path}")
        for engine in (made._reader, made._writer):
            event.listen(engine, "connect", _hurry)
        return made


def _hurry(connection: Connection, _entry: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")
