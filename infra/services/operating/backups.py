"""Copying an installation elsewhere, and putting it back: for whoever has the machine."""

from pathlib import Path

from infra.adapters.artifacts.depot import Depot
from infra.adapters.catalog import audit
from infra.services.callers import Caller, Right, allow
from infra.services.operating import vault
from infra.wiring import Parts
from tasks.backup import restore as putting
from tasks.backup.restore import Restored
from tasks.backup.take import Taken, take


def back_up(parts: Parts, caller: Caller, url: str, *, with_keys: bool = True, keep: int | None = None) -> Taken:
    """Copy the installation to a URL; see `tasks.backup.take.take`.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.MANAGE_KEYS)
    vault.check(parts)  # a backup whose keys open nothing would be found out too late
    taken = take(parts, url, with_keys=with_keys, keep=keep)
    with parts.catalog.write() as session:
        audit.record(session, None, caller.subject, "backup", taken.name, files=taken.files, keys=with_keys)
    return taken


def restore(parts: Parts, caller: Caller, url: str, *, name: str = "", key_file: Path | None = None) -> Restored:
    """Put a backup into an empty home; see `tasks.backup.restore.restore`.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.MANAGE_KEYS)
    restored = putting.restore(parts, url, name=name, key_file=key_file)
    parts.catalog.migrate()
    vault.check(parts)
    with parts.catalog.write() as session:
        audit.record(session, None, caller.subject, "restore", restored.name, files=restored.files)
    return restored


def names(caller: Caller, url: str) -> list[str]:
    """Return the backups at a URL, the oldest first.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.MANAGE_KEYS)
    return Depot(url).notes()
