"""The home's own admin key."""

from pathlib import Path

from configs.settings import Settings
from infra.doors.cli.admin_key import ensure_admin_key
from infra.doors.cli.supervisor.addresses import admin_key_file
from infra.services import people
from infra.services.callers import Role
from infra.services.operating.pages import HOME_ORG
from infra.wiring import open_parts


def test_it_is_made_once_for_the_owner_alone_and_again_when_revoked(tmp_path: Path) -> None:
    parts = open_parts(Settings(home=tmp_path))
    parts.catalog.migrate()
    ensure_admin_key(parts)
    first = admin_key_file(tmp_path).read_text()
    ensure_admin_key(parts)
    assert admin_key_file(tmp_path).read_text() == first
    assert admin_key_file(tmp_path).stat().st_mode & 0o777 == 0o600
    caller = people.identify(parts, first)
    assert (caller.org, caller.role) == (HOME_ORG, Role.ADMIN)
    people.revoke_key(parts, people.operator(HOME_ORG), caller.subject)
    ensure_admin_key(parts)
    assert admin_key_file(tmp_path).read_text() != first
    parts.close()
