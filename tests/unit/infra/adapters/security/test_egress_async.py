"""What an asynchronous client may connect to: names are judged when they are resolved, IPs when they are connected."""

import asyncio
import socket

import aiohttp
import pytest

from configs.errors import InvalidRequestError, StoreError
from infra.adapters.security.egress import SETTING, EgressPolicy
from infra.adapters.security.egress_async import Guard

NAMES = {"public.example": ["8.8.8.8"], "inner.example": ["10.0.0.7"], "both.example": ["8.8.8.8", "10.0.0.7"]}


def _guard(allow: str = "") -> Guard:
    return Guard(EgressPolicy(allow, resolve=lambda host, _port: NAMES.get(host, [])))


def _info(address: str) -> tuple[int, int, int, str, tuple[object, ...]]:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)


def test_a_name_is_resolved_to_what_was_judged() -> None:
    [found] = asyncio.run(_guard().resolve("public.example", 443))
    assert (found["host"], found["hostname"], found["port"]) == ("8.8.8.8", "public.example", 443)


@pytest.mark.parametrize("name", ["inner.example", "both.example"])
def test_a_name_that_leads_inside_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=SETTING):
        asyncio.run(_guard().resolve(name, 443))


def test_a_name_that_leads_nowhere_says_so() -> None:
    with pytest.raises(StoreError, match="cannot be resolved"):
        asyncio.run(_guard().resolve("nowhere.example", 443))


def test_an_ip_is_judged_by_itself_unless_a_name_led_there() -> None:
    guard = _guard("*.example")
    with pytest.raises(InvalidRequestError, match=SETTING):
        guard.socket(_info("10.0.0.7"))
    asyncio.run(guard.resolve("inner.example", 80))
    guard.socket(_info("10.0.0.7")).close()


def test_a_redirect_inside_is_refused_by_the_connection_itself() -> None:
    async def ask() -> None:
        async with aiohttp.ClientSession(connector=_guard().connector()) as session:
            await session.get("http://127.0.0.1:9/latest/meta-data")

    with pytest.raises(InvalidRequestError, match=SETTING):
        asyncio.run(ask())
