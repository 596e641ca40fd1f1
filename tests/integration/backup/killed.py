"""`python -m tests.integration.backup.killed PLACE [restore]`: a process that a fail point kills."""

import sys

from configs.settings import Settings
from infra.services import people
from infra.services.operating import backups
from infra.services.operating.pages import HOME_ORG
from infra.wiring import open_parts

if __name__ == "__main__":
    restoring = len(sys.argv) > 2
    parts = open_parts(Settings(), restoring=restoring)
    what = backups.restore if restoring else backups.back_up
    what(parts, people.operator(HOME_ORG), sys.argv[1])
