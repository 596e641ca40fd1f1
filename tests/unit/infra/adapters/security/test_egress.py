"""Outgoing addresses."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from configs.errors import InvalidRequestError, StoreError
from infra.adapters.security.egress import EgressPolicy


class _Redirecting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
        else:
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

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
    ],
)
def test_inner_addresses_are_refused_and_the_setting_is_named(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="TEACHBACK_EGRESS_ALLOW"):
        EgressPolicy().check(url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://1.1.1.1/", "http://", "http://user:pw@1.1.1.1/", "http://1.1.1.1:x/"]
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


class _ChangedItsMind(EgressPolicy):
    """A name server that answered with an allowed address until the connection was made."""

    def check(self, url: str) -> None:
        assert url


def test_a_session_judges_the_address_that_it_reached(server: str) -> None:
    with pytest.raises(InvalidRequestError, match="loopback"):
        _ChangedItsMind().session().get(server, timeout=5)
