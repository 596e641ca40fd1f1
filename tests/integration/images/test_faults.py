"""What keeps an object store from being read: each fault has its own words, and none tells a secret or a path."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from configs.errors import InvalidRequestError, ReadOnlyStoreError, StoreError
from infra.adapters.images.base import Credentials, LabelToStore
from infra.adapters.images.objects.place import Endpoints, Location, ObjectKind
from infra.adapters.images.objects.stores import ObjectStores
from infra.adapters.security.egress import SETTING, EgressPolicy
from tests.fixtures_objects import AZURE_ACCOUNT, AZURE_KEY, KINDS, S3_KEY, Bucket, connection_string, new_bucket

ENTRY = {"image": {"path": ["ct.nii.gz"], "id": "one"}}
BLOB = "DefaultEndpointsProtocol=http;AccountName={};BlobEndpoint={};"


def _read(bucket: Bucket, cache: Path, url: str = "", **given: str) -> str:
    """Return what reading the data set fails with."""
    with pytest.raises(StoreError) as caught:
        list(bucket.store(url or bucket.url, cache, given or None).images())
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.fixture
def full(bucket: Bucket) -> Bucket:
    """A data set of one image."""
    bucket.put("ct.nii.gz", b"voxels")
    bucket.manifest(ENTRY)
    return bucket


@pytest.mark.parametrize(
    "given",
    [
        {"client_id": S3_KEY, "client_secret": "not the secret"},
        {"client_id": "nobody", "client_secret": "not the secret"},
    ],
)
def test_s3_refuses_a_wrong_key_or_secret(
    given: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bucket = new_bucket("s3", request)
    bucket.manifest(ENTRY)
    said = _read(bucket, tmp_path, **given)
    assert said.startswith("AccessError: The S3 store refuses the credentials (403): they are wrong")
    assert "client_secret" in said
    assert not any(word in said for word in ("not the secret", bucket.folder, "nobody"))


def test_azure_refuses_a_wrong_key(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bucket = new_bucket("azure", request)
    bucket.manifest(ENTRY)
    wrong = connection_string(bucket.endpoint, "bm90IHRoZSBrZXk=")
    said = _read(bucket, tmp_path, client_id=AZURE_ACCOUNT, client_secret=wrong)
    assert said.startswith("AccessError: The Azure Blob store refuses the credentials (403")


def test_an_expired_sas_says_so_and_a_good_one_reads_but_does_not_write(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bucket = new_bucket("azure", request)
    bucket.put("ct.nii.gz", b"voxels")
    bucket.manifest(ENTRY)

    def given(hours: int) -> dict[str, str]:
        until = datetime.now(UTC) + timedelta(hours=hours)
        sas = generate_container_sas(
            AZURE_ACCOUNT, bucket.name, AZURE_KEY, permission=ContainerSasPermissions(read=True), expiry=until
        )
        connection = f"{BLOB.format(AZURE_ACCOUNT, bucket.endpoint)}SharedAccessSignature={sas}"
        return {"client_id": "", "client_secret": connection}

    assert "AccessError: " in (said := _read(bucket, tmp_path, **given(-1)))
    assert "they have expired; PATCH with another" in said
    store = bucket.store(bucket.url, tmp_path, given(1))  # it may not list either: objects are asked for one by one
    assert [(image.key, image.skipped) for image in store.images()] == [("one", "")]
    label = tmp_path / "label.nii"
    label.write_bytes(b"mask")
    with pytest.raises(ReadOnlyStoreError):
        store.put_label("one", LabelToStore(id="mine", path=label))


def test_google_gives_no_token_to_a_wrong_service_account(
    request: pytest.FixtureRequest, tmp_path: Path, refusing: str
) -> None:
    bucket = new_bucket("gcs", request)
    bucket.manifest(ENTRY)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "client_email": "reader@hospital.example",
        "token_uri": f"{refusing}/token",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    said = _read(bucket, tmp_path, client_id="", client_secret=json.dumps(account))
    assert said.startswith("AccessError: Google gives no token to the service account")
    account["token_uri"] = "http://169.254.169.254/token"
    with pytest.raises(InvalidRequestError, match=SETTING):
        list(bucket.store(bucket.url, tmp_path, {"client_id": "", "client_secret": json.dumps(account)}).images())
    with pytest.raises(InvalidRequestError, match="service account's JSON"):
        bucket.store(bucket.url, tmp_path, {"client_id": "me", "client_secret": "no JSON"})


def test_a_bucket_and_a_manifest_that_are_not_there_are_told_apart(full: Bucket, tmp_path: Path) -> None:
    elsewhere = full.url.replace(full.name, "no-such-bucket")
    assert "There is no bucket or container of this name" in _read(full, tmp_path, elsewhere)
    assert "there is no manifest.json in the folder" in _read(full, tmp_path, f"{full.url}/nowhere")
    assert "there is no other.json in the folder" in _read(full, tmp_path, f"{full.url}/other.json")


def test_a_store_that_is_down_says_so(full: Bucket, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        silent = f"http://127.0.0.1:{taken.getsockname()[1]}"
        down = Bucket(full.kind, silent, full.folder)
        assert "cannot be reached (ConnectionRefusedError)" in _read(down, tmp_path)


def test_a_manifest_that_is_none_says_what_it_wants(full: Bucket, tmp_path: Path) -> None:
    full.put("bad.json", b'{"data": [{"image": ')
    full.put("empty.json", b'{"data": []}')
    other = full.manifest({"image": {"path": ["https://elsewhere.example/x.nii"], "id": "x"}}, name="other.json")
    assert "cannot be read as JSON" in _read(full, tmp_path, f"{full.url}/bad.json")
    assert "Must provide samples in the data dict" in _read(full, tmp_path, f"{full.url}/empty.json")
    assert "an object of another store" in _read(full, tmp_path, other)


@pytest.mark.parametrize("kind", [*KINDS, "web"])
def test_no_client_connects_where_the_policy_forbids_it(kind: ObjectKind, refusing: str) -> None:
    """Also past the first look: a name that led to an allowed address leads to another when it is connected to."""
    port = refusing.rpartition(":")[2]
    answers = iter(["8.8.8.8"])

    def resolve(_host: str, _port: int) -> list[str]:
        return [next(answers, "127.0.0.1")]

    endpoint = f"http://store.example:{port}"
    policy = EgressPolicy(resolve=resolve)
    stores = ObjectStores(policy, Endpoints())
    location = Location(kind, endpoint, f"{endpoint}/x" if kind == "web" else "bucket")
    given = Credentials(username="account", password=SecretStr("c2VjcmV0")) if kind == "azure" else None
    files = stores.open(location, given)
    with pytest.raises(InvalidRequestError, match=SETTING):
        files.info(f"{location.path}/object")
    literal = location._replace(endpoint=f"http://127.0.0.1:{port}")
    with pytest.raises(InvalidRequestError, match=SETTING):
        stores.open(literal, given)


class _Refusing(BaseHTTPRequestHandler):
    """Refuses every request for a token."""

    def do_POST(self) -> None:
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"error": "invalid_grant", "error_description": "account not found"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that gives nothing."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
