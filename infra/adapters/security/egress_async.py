"""The egress policy for clients that speak aiohttp, as the object stores' do.

Names are resolved and judged here, and what is connected to is one of the judged IPs. An address that is an IP already
is never resolved, so each socket is judged once more when it is made.
"""

import asyncio
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from infra.adapters.security.egress import EgressPolicy

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class Guard(AbstractResolver):
    """A resolver and a maker of sockets that let through what a policy allows.

    Args:
        policy: Which addresses may be called.
    """

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._judged: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return a host's IPs, all of which may be called; raises as `EgressPolicy.addresses`."""
        del family  # the policy's order is the resolver's own, which knows what this host can reach
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, self._policy.addresses, host, port)
        self._judged.update(found)
        return [_result(host, address, port) for address in found]

    async def close(self) -> None:
        """Release nothing: there is nothing."""

    def socket(self, info: AddressInfo) -> socket.socket:
        """Return a socket for an IP; raises as `EgressPolicy.check_address` for one that may not be called."""
        family, kind, protocol, _name, address = info
        ip = str(address[0])
        if ip not in self._judged:
            self._policy.check_address(ip, ip)
        return socket.socket(family=family, type=kind, proto=protocol)

    def connector(self) -> aiohttp.TCPConnector:
        """Return a connector that goes nowhere else; to be made in the loop that uses it."""
        return aiohttp.TCPConnector(resolver=self, socket_factory=self.socket)


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
