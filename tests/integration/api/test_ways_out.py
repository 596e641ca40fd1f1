"""Which addresses a request may name."""

from pathlib import Path

import pytest

from configs.settings import Settings
from infra.services.callers import Role
from tests.integration.api.conftest import Api
from tests.processes import free_port


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    """A server that others reach: its own loopback is nothing that they may name."""
    return Settings(home=tmp_path / "home", catalog_url=sqlite_url, host="0.0.0.0")  # noqa: S104 - nothing is bound


def test_an_inner_address_needs_the_operators_setting_or_an_admin(people_of: dict[Role, Api]) -> None:
    body = {"client_url": f"http://127.0.0.1:{free_port()}/dicom-web"}
    refused = people_of[Role.ENGINEER].call("POST", "/datasets", json=body)
    assert refused.status_code == 400
    assert "TEACHBACK_EGRESS_ALLOW" in refused.json()["error_desc"]

    tried = people_of[Role.ADMIN].call("POST", "/datasets", json=body)
    assert tried.json()["error_desc"].startswith("Cannot resolve the dataset."), "it was called, and nobody is there"


@pytest.mark.parametrize("role", [Role.ENGINEER, Role.ADMIN])
def test_nobody_names_the_metadata_service(people_of: dict[Role, Api], role: Role) -> None:
    reply = people_of[role].call("POST", "/datasets", json={"client_url": "http://169.254.169.254/dicom-web"})
    assert "may not be called" in reply.json()["error_desc"]
