"""One policy for every address that a request may make us call.

An address is judged by the IP that is connected to: a connection resolves its name once, judges every answer, and
connects to one of these IPs, so that a name that changes its mind gains nothing. TLS still checks the name. Redirects
pass the same way.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from configs.errors import InvalidRequestError, StoreError

SETTING = "TEACHBACK_EGRESS_ALLOW"
Resolve = Callable[[str, int], Sequence[str]]
_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_NETWORK = ipaddress.IPv4Network | ipaddress.IPv6Network
_PORTS = {"http": 80, "https": 443}
# Prefixes before an IPv4 address: NAT64 (RFC 6052), and "IPv4-compatible" (RFC 4291 section 2.5.5.1).
_BEFORE_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
# Cloud metadata services outside the link-local ranges.
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("168.63.129.16")})


class EgressPolicy:
    """Which addresses may be called: public ones, what the operator allows, and loopback on a single machine.

    Args:
        allow: Comma-separated networks (`10.0.0.0/8`) and host patterns (`*.hospital.example`).
        loopback: Whether this machine's own services may be named: only where it serves nobody else.
        resolve: Returns the IPs of a host name; raises OSError if there are none.

    Raises:
        InvalidRequestError: If an entry that looks like a network is none.
    """

    def __init__(self, allow: str = "", *, loopback: bool = False, resolve: Resolve | None = None) -> None:
        entries = [entry.strip().lower() for entry in allow.split(",") if entry.strip()]
        self._networks = [_network(entry) for entry in entries if _looks_like_network(entry)]
        self._hosts = [entry for entry in entries if not _looks_like_network(entry)]
        self._loopback = loopback
        self._resolve = resolve or _resolved

    @property
    def single_machine(self) -> bool:
        """Whether this installation serves only its own machine."""
        return self._loopback

    def check(self, url: str) -> None:
        """Refuse an address that must not be called.

        Raises:
            InvalidRequestError: If it is no http(s) address, carries a password, or leads to a refused place.
            StoreError: If its name cannot be resolved.
        """
        self.addresses(*_host_of(url))

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the IPs of a host, every one of which may be called; raises as `check`."""
        try:
            found = list(dict.fromkeys(self._resolve(host, port)))
        except (OSError, UnicodeError):
            found = []
        if not found:
            msg = f"The host name {host!r} cannot be resolved: check the address"
            raise StoreError(msg)
        for address in found:
            self.check_address(host, address)
        return found

    def trusting(self, url: str) -> "EgressPolicy":
        """Return this policy with the host of an address that an admin registered; it opens no metadata service."""
        host, _port = _host_of(url)
        more = EgressPolicy(loopback=self._loopback, resolve=self._resolve)
        # The host as it is written, no pattern: what an admin allows is this one and no other.
        more._networks, more._hosts = self._networks, [*self._hosts, _literally(host)]
        return more

    def check_address(self, host: str, address: str) -> None:
        """Refuse one IP that a host name led to; raises as `check`."""
        ip = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        if self._allows(host.lower(), ip):
            return
        msg = (
            f"The address {host!r} leads to a {_kind(ip)} network and may not be called from here: "
            f"the operator can allow it with {SETTING}, such as {SETTING}=10.0.0.0/8,*.hospital.example"
        )
        raise InvalidRequestError(msg)

    def session(self) -> requests.Session:
        """Return an HTTP session that calls only what this policy allows, redirects included."""
        session = requests.Session()
        session.trust_env = False  # a proxy or .netrc of the environment would go around the policy
        for scheme in _PORTS:
            session.mount(f"{scheme}://", _GuardedAdapter(self))
        return session

    def _allows(self, host: str, ip: _IP) -> bool:
        if any(ip in network for network in self._networks):
            return True
        if ip.is_link_local or ip in _METADATA or ip.is_multicast or ip.is_unspecified:
            return False  # only a network that is written out opens these
        if any(fnmatchcase(host, pattern) for pattern in self._hosts):
            return True
        if ip.is_loopback:
            return self._loopback
        return ip.is_global and not ip.is_reserved


class _GuardedAdapter(HTTPAdapter):
    """Judges the IPs of each host, and connects to these."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make urllib3's pools, with connections of ours."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._policy.addresses)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Refuse an address that is none of ours to call before anything of it is looked up; raises as `check`."""
        _host_of(request.url or "")
        return super().send(request, *args, **kwargs)


class OnlyTo(AuthBase):
    """An `Authorization` header for one origin; whatever else a reply or a redirect names gets none.

    Args:
        url: Any address of the origin that the credentials were given for.
        header: The header's value.
    """

    def __init__(self, url: str, header: str) -> None:
        self._origin = _origin_of(url)
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header where it belongs."""
        if _origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = self._header
        return request


def same_origin(one: str, other: str) -> bool:
    """Say whether two addresses have scheme, host and port in common; what is no address of a server has no origin."""
    try:
        return _origin_of(one) == _origin_of(other)
    except InvalidRequestError:
        return False


def _pools(addresses: Callable[[str, int], list[str]]) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools with connections that go to IPs which were judged."""

    def pinned(connection: HTTPConnection, connect: Callable[[], socket.socket]) -> socket.socket:
        """Connect to the first of the judged addresses that answers."""
        name, failure = connection.host, None
        for address in addresses(name, connection.port):
            # The address that was judged, not the name: asked again, the name may lead elsewhere.
            connection.host = address
            try:
                return connect()
            except HTTPError as error:
                failure = error
            finally:
                connection.host = name  # the Host header, and what TLS asks for and checks
        raise failure or OSError(f"no address of {name}")

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return pinned(self, super()._new_conn)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return pinned(self, super()._new_conn)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _host_of(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidRequestError("The address cannot be read: give http(s)://host[:port]/path") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        msg = f"An address with scheme {parts.scheme!r} cannot be called: give http(s)://host[:port]/path"
        raise InvalidRequestError(msg)
    if parts.username or parts.password:
        raise InvalidRequestError("The address carries a user or password: give them as client_id and client_secret")
    return parts.hostname, port or _PORTS[parts.scheme]


def _origin_of(url: str) -> tuple[str, str, int]:
    host, port = _host_of(url)
    return urlsplit(url).scheme, host, port


def _resolved(host: str, port: int) -> Sequence[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _literally(host: str) -> str:
    """Return the pattern that only this host name matches."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in host.lower())


def _unwrapped(ip: _IP) -> _IP:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_unspecified or ip.is_loopback:
        return ip
    if any(ip in prefix for prefix in _BEFORE_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


def _kind(ip: _IP) -> str:
    if ip.is_loopback:
        return "loopback"
    return "link-local" if ip.is_link_local or ip in _METADATA else "private or reserved"


def _looks_like_network(entry: str) -> bool:
    return "/" in entry or ":" in entry or entry.replace(".", "").isdigit()


def _network(entry: str) -> _NETWORK:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        msg = f"{SETTING} names {entry!r}, which is no network: write it as 10.0.0.0/8 or fd00::/8"
        raise InvalidRequestError(msg) from None
