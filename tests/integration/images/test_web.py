"""A manifest behind plain https: read with credentials that stay with its server, and never written."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from configs.errors import AccessError, ReadOnlyStoreError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.base import Credentials, ImageStore, LabelToStore
from infra.adapters.images.objects.place import Endpoints
from infra.adapters.images.objects.stores import ObjectStores
from infra.adapters.images.open import open_store
from infra.adapters.security.egress import EgressPolicy

BASIC = f"Basic {b64encode(b'reader:secret').decode()}"
GIVEN = Credentials(username="reader", password=SecretStr("secret"))


class _Server(ThreadingHTTPServer):
    """Gives files, and sends on what is marked so; notes what it was told of its callers."""

    def __init__(self, files: Mapping[str, bytes], *, wants: str = "", sends_on: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.wants, self.sends_on = dict(files), wants, sends_on
        self.told: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_HEAD(self) -> None:
        said = self.headers.get("Authorization", "")
        self.server.told.append(said)
        content = self.server.files.get(self.path)
        if said != self.server.wants:
            self._answer(401)
        elif self.path.startswith("/moved/") and self.server.sends_on:
            self._answer(302, Location=f"{self.server.sends_on}{self.path}")
        elif content is None:
            self._answer(404)
        else:
            tag = f'"{hash(content)}"'
            self._answer(200, **{"Content-Length": str(len(content)), "ETag": tag})
            if self.command == "GET":
                self.wfile.write(content)

    def do_GET(self) -> None:
        self.do_HEAD()

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def _running(server: _Server) -> Iterator[_Server]:
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[_Server, _Server]]:
    """One with a manifest, which wants a password, and one that it sends callers on to."""
    paths = ("a b.nii", "moved/c.nii", "gone.nii")
    manifest = {"data": [{"image": {"path": [path], "id": path}} for path in paths]}
    files = {"/set/scans.json": json.dumps(manifest).encode(), "/set/a%20b.nii": b"voxels"}
    other = _Server({"/moved/c.nii": b"moved"})
    with _running(other), _running(_Server(files, wants=BASIC, sends_on=other.url)) as server:
        yield server, other


def _store(url: str, cache: Path, given: Credentials | None = GIVEN) -> ImageStore:
    return open_store(
        DatasetSpec(kind="web", url=url),
        credentials=given,
        objects=ObjectStores(EgressPolicy(loopback=True), Endpoints()),
        keep=partial(DiskCache(cache, 10**9).get, "raw"),
    )


def test_images_are_looked_for_one_by_one_and_fetched(servers: tuple[_Server, _Server], tmp_path: Path) -> None:
    store = _store(f"{servers[0].url}/set/scans.json", tmp_path / "cache")
    assert [image.key for image in store.images() if not image.skipped] == ["a b.nii"]
    [path] = store.fetch("a b.nii", tmp_path / "into").paths
    assert path.read_bytes() == b"voxels"
    label = tmp_path / "label.nii"
    label.write_bytes(b"mask")
    with pytest.raises(ReadOnlyStoreError):
        store.put_label("a b.nii", LabelToStore(id="one", path=label))


def test_a_redirect_to_another_server_takes_no_credentials_along(
    servers: tuple[_Server, _Server], tmp_path: Path
) -> None:
    server, other = servers
    server.files["/set/scans.json"] = json.dumps(
        {"root_path": f"{server.url}/moved", "data": [{"image": {"path": ["c.nii"], "id": "c"}}]}
    ).encode()
    store = _store(f"{server.url}/set/scans.json", tmp_path / "cache")
    assert [(image.key, image.skipped) for image in store.images()] == [("c", "")]
    [path] = store.fetch("c", tmp_path / "into").paths
    assert path.read_bytes() == b"moved"
    assert other.told
    assert set(other.told) == {""}


@pytest.mark.parametrize("given", [None, Credentials(username="reader", password=SecretStr("wrong"))])
def test_a_refusal_and_a_manifest_that_is_not_there_say_so(
    servers: tuple[_Server, _Server], given: Credentials | None, tmp_path: Path
) -> None:
    with pytest.raises(AccessError, match="web server refuses the credentials"):
        list(_store(f"{servers[0].url}/set/scans.json", tmp_path, given).images())
    with pytest.raises(StoreError, match=r"there is no other\.json"):
        list(_store(f"{servers[0].url}/set/other.json", tmp_path).images())
