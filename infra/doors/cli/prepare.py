"""`python -m infra.doors.cli.prepare MODULE`: the catalog's tables and the home's own admin key, then MODULE.

What `teachback up` starts the API by: in one process, since both need the same imports, two seconds of a processor.
"""

import runpy
import sys

from configs.settings import Settings
from infra.doors.cli.admin_key import ensure_admin_key
from infra.services.operating import vault
from infra.wiring import open_parts


def prepare() -> None:
    """Make what a home needs to be served."""
    parts = open_parts(Settings())
    parts.catalog.migrate()
    vault.ensure(parts)
    ensure_admin_key(parts)
    parts.close()


if __name__ == "__main__":
    prepare()
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
