"""Outgoing addresses."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from configs.errors import InvalidRequestError, StoreError
from infra.adapters.security.egress import EgressPolicy, OnlyTo, same_origin


class _Redirecting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        port = self.headers["Host"].rpartition(":")[2]
        away = {
            "/away": "http://169.254.169.254/latest/meta-data",
            "/same": "/authorization",
            "/elsewhere": f"http://localhost:{port}/authorization",
        }
        body = str(self.headers.get(self.path.strip("/"), "") if self.path != "/" else "").encode()
        self.send_response(302 if self.path in away else 200)
        if self.path in away:
            self.send_header("Location", away[self.path])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@dataclass
class TlsServer:
    """A server whose certificate is for `pacs.example`, and the names that it was asked for."""

    port: int
    certificate: Path
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[TlsServer]:
    certificate, key = _self_signed(tmp_path, "pacs.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as running:
        said = TlsServer(running.server_port, certificate)
        context.sni_callback = lambda _socket, name, _context: None if said.asked else said.asked.append(name)
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield said
        running.shutdown()
        thread.join()


def _self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.crt").write_bytes(certificate.public_bytes(form))
    (folder / "server.key").write_bytes(secret)
    return folder / "server.crt", folder / "server.key"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8042/dicom-web",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://169.254.169.254/latest",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://[::]/",
        "http://[::7f00:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://100.64.0.1/",
        "http://168.63.129.16/",
        "http://10.0.0.1/#@1.1.1.1/",
        "http://10.0.0.1/?@1.1.1.1",
    ],
)
def test_inner_addresses_are_refused_and_the_setting_is_named(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="TEACHBACK_EGRESS_ALLOW"):
        EgressPolicy().check(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://1.1.1.1/",
        "http://",
        "http://user:pw@1.1.1.1/",
        "http://1.1.1.1:x/",
        "http://1.1.1.1@10.0.0.1/",
    ],
)
def test_what_is_no_plain_http_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        EgressPolicy(loopback=True).check(url)


def test_public_addresses_pass() -> None:
    EgressPolicy().check("https://1.1.1.1/dicom-web")


def test_what_the_operator_allows_passes_and_nothing_beside_it() -> None:
    policy = EgressPolicy("10.0.0.0/8, localhost")
    policy.check("http://10.1.2.3/")
    policy.check("http://localhost:8042/")
    for url in ("http://192.168.0.1/", "http://127.0.0.1/"):
        with pytest.raises(InvalidRequestError):
            policy.check(url)


def test_a_host_pattern_does_not_open_metadata_but_a_network_does() -> None:
    with pytest.raises(InvalidRequestError):
        EgressPolicy("*").check("http://169.254.169.254/")
    EgressPolicy("169.254.169.254/32").check("http://169.254.169.254/")


def test_loopback_passes_on_a_single_machine_but_metadata_does_not() -> None:
    policy = EgressPolicy(loopback=True)
    policy.check("http://127.0.0.1:8042/")
    with pytest.raises(InvalidRequestError):
        policy.check("http://169.254.169.254/")


def test_a_name_without_an_address_is_said() -> None:
    with pytest.raises(StoreError, match="cannot be resolved"):
        EgressPolicy().check("http://pacs.invalid/")


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(InvalidRequestError, match=r"10\.0\.0\.0/99"):
        EgressPolicy("10.0.0.0/99")


def test_a_session_calls_what_is_allowed_and_follows_no_redirect_elsewhere(server: str) -> None:
    session = EgressPolicy(loopback=True).session()
    assert session.get(f"{server}/", timeout=5).status_code == 200
    with pytest.raises(InvalidRequestError, match="link-local"):
        session.get(f"{server}/away", timeout=5)


class _Names:
    """A name server whose answer changes with every question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        assert host
        assert port
        self.asked += 1
        return self.answers.pop(0)


def test_a_name_that_changes_its_mind_after_the_check_is_judged_again_and_reaches_nothing(server: str) -> None:
    names = _Names(["1.1.1.1"], ["127.0.0.1"])
    policy = EgressPolicy(resolve=names)
    url = server.replace("127.0.0.1", "pacs.example")
    policy.check(url)
    with pytest.raises(InvalidRequestError, match="loopback"):
        policy.session().get(url, timeout=5)


def test_a_connection_goes_to_the_address_that_was_judged_and_asks_no_second_time(server: str) -> None:
    names = _Names(["127.0.0.1"])
    url = server.replace("127.0.0.1", "pacs.example")
    reply = EgressPolicy(loopback=True, resolve=names).session().get(f"{url}/host", timeout=5)
    assert names.asked == 1
    assert reply.text == url.removeprefix("http://")


def test_a_name_with_one_refused_address_among_others_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="private"):
        EgressPolicy(resolve=_Names(["1.1.1.1", "10.0.0.7"])).check("http://pacs.example/")


def test_tls_asks_for_the_name_and_checks_it(tls_server: TlsServer) -> None:
    policy = EgressPolicy(loopback=True, resolve=lambda _host, _port: ["127.0.0.1"])
    session = policy.session()
    session.verify = str(tls_server.certificate)
    assert session.get(f"https://pacs.example:{tls_server.port}/", timeout=5).status_code == 200
    assert tls_server.asked == ["pacs.example"]
    with pytest.raises(requests.exceptions.SSLError):
        session.get(f"https://elsewhere.example:{tls_server.port}/", timeout=5)


def test_what_an_admin_registered_is_allowed_and_nothing_beside_it() -> None:
    policy = EgressPolicy(resolve=lambda host, _port: ["169.254.169.254" if host == "meta" else "10.0.0.7"])
    policy.trusting("http://pacs:8042/dicom-web").check("http://pacs/")
    for admitted, url in (("http://pacs/", "http://other/"), ("http://meta/", "http://meta/")):
        with pytest.raises(InvalidRequestError):
            policy.trusting(admitted).check(url)
    with pytest.raises(InvalidRequestError):
        policy.check("http://pacs/")


def test_credentials_go_to_their_own_origin_only(server: str) -> None:
    session = EgressPolicy(loopback=True).session()
    session.auth = OnlyTo(f"{server}/dicom-web", "Bearer secret")
    assert session.get(f"{server}/authorization", timeout=5).text == "Bearer secret"
    assert session.get(f"{server}/same", timeout=5).text == "Bearer secret"
    elsewhere = server.replace("127.0.0.1", "localhost")
    assert session.get(f"{elsewhere}/authorization", timeout=5).text == ""
    assert session.get(f"{server}/elsewhere", timeout=5).text == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://pacs/dicom-web", "https://pacs:443/labels", True),
        ("https://pacs/", "http://pacs/", False),
        ("https://pacs/", "https://pacs:8443/", False),
        ("file:///studies", "file:///studies", False),
    ],
)
def test_an_origin_is_scheme_host_and_port_of_a_server(one: str, other: str, same: bool) -> None:
    assert same_origin(one, other) is same
