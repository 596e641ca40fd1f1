"""The home's own admin key: made at the first `up`, kept beside the catalog for whoever may read the home folder."""

from configs.errors import UnauthorizedError
from infra.doors.cli.supervisor.addresses import admin_key_file, write_private
from infra.services import people
from infra.services.callers import Role
from infra.services.operating.pages import HOME_ORG
from infra.wiring import Parts


def ensure_admin_key(parts: Parts) -> None:
    """Make the key if there is none that the catalog knows."""
    path = admin_key_file(parts.settings.home)
    try:
        # Tried and not only read: the catalog may be another one than the key was made in.
        people.identify(parts, path.read_text().strip())
    except (OSError, UnauthorizedError):
        made = people.create_key(parts, people.operator(HOME_ORG), name="this machine", role=Role.ADMIN, org=HOME_ORG)
        write_private(path, made.secret)
