"""What an app's host wrote is judged before it is read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from configs.settings import Settings
from configs.wire.apps import AppModels, AppRequest
from configs.wire.host import HostMessage, HostRequest
from infra.wiring import Parts
from tasks.bundles.apps import register_app
from tests.hosts_in_memory import HostInMemory, HostsInMemory


class _Linking(HostInMemory):
    """The host of an app that has a folder of the server registered in a model's place."""

    def __init__(self, out: Path, elsewhere: Path) -> None:
        self._out, self._elsewhere = out, elsewhere

    def messages(self) -> Iterator[HostMessage]:
        """Answer with a link."""
        self._out.mkdir(parents=True)
        (self._out / "liver").symlink_to(self._elsewhere)
        yield AppModels(models=["liver"])


class _Hosts(HostsInMemory):
    def __init__(self, elsewhere: Path) -> None:
        self._elsewhere = elsewhere

    def host(self, request: HostRequest, work: Path) -> HostInMemory:
        """Start it."""
        del work
        assert isinstance(request, AppRequest)
        return _Linking(Path(request.out), self._elsewhere)


def test_a_link_in_a_models_place_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "configs").mkdir(parents=True)
    (tmp_path / "elsewhere" / "configs" / "metadata.json").write_text("{}")
    (tmp_path / "app").mkdir()
    parts = Parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url, uncaged_bundles=True))
    _Hosts(tmp_path / "elsewhere").put_into(parts)
    with pytest.raises(InvalidRequestError, match="'liver' is a link"):
        register_app(parts, str(tmp_path / "app"), {}, by="ann")
    assert not (parts.settings.home / "bundles").exists()
    parts.close()
