"""`python -m infra.doors.cli.prepare`: the catalog's tables and the home's own admin key.

A step of `teachback up`, in a process of its own, so that the supervisor stays small and a failure is one log.
"""

from configs.settings import Settings
from infra.doors.cli.admin_key import ensure_admin_key
from infra.services import vault
from infra.wiring import open_parts

if __name__ == "__main__":
    parts = open_parts(Settings())
    parts.catalog.migrate()
    vault.ensure(parts)
    ensure_admin_key(parts)
    parts.close()
