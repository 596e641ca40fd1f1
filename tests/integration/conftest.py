"""The application that tests of its routes share."""

import pytest
from fastapi import FastAPI

from configs.settings import Settings
from infra.doors.api.app import create_app
from infra.wiring import Parts


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The application, whose routes take a second to make; who calls it gives it each test's own parts."""
    return create_app(Parts(Settings(home=tmp_path_factory.mktemp("home"))), run_loops=False)
