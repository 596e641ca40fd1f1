"""Whose code is run where nothing keeps it in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import BundleError, ForbiddenError
from configs.settings import Settings
from infra.adapters.compute.process import ProcessHosts
from infra.wiring import Parts
from tasks.bundles.catalog import register

SAMPLE = Path(__file__).parents[4] / "bundles" / "sample"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A bundle from elsewhere that a host would refuse; none of these tests starts one that answers."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(SAMPLE, folder)
    (folder / "configs" / "inference.json").write_text("{}")
    return folder


@pytest.fixture(params=[False, True])
def uncaged(request: pytest.FixtureRequest, sqlite_url: str, tmp_path: Path) -> Iterator[Parts]:
    """Adapters where no cage works, without and with the flag."""
    settings = Settings(home=tmp_path / "home", catalog_url=sqlite_url, uncaged_bundles=request.param)
    parts = Parts(settings, hosts=ProcessHosts(level="limits"))
    yield parts
    parts.close()


def test_without_a_cage_a_bundle_from_elsewhere_needs_a_flag(uncaged: Parts, broken: Path) -> None:
    if uncaged.settings.uncaged_bundles:
        with pytest.raises(BundleError):
            register(uncaged, str(broken), by="ann")
    else:
        with pytest.raises(ForbiddenError, match="TEACHBACK_UNCAGED_BUNDLES"):
            register(uncaged, str(broken), by="ann")
        assert not (uncaged.settings.home / "bundles").exists()
