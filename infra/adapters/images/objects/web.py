"""Objects behind plain https, by fsspec: they cannot be listed, and are never written."""

import base64
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from configs.errors import ReadOnlyStoreError
from infra.adapters.images.base import Credentials
from infra.adapters.images.objects.files import Found, ObjectFiles
from infra.adapters.images.objects.place import Location
from infra.adapters.images.web import CONNECT_S, READ_S, silence
from infra.adapters.security.egress import EgressPolicy
from infra.adapters.security.egress_async import Guard

_ALIKE = {"Accept-Encoding": "identity"}


class WebFiles(ObjectFiles):
    """Objects behind plain https.

    Args:
        credentials: User and password, or a bearer token, in a header that no redirect to another origin gets.
        policy: Which addresses may be called.
    """

    kind = "web"
    can_list = False

    def __init__(self, location: Location, credentials: Credentials | None, policy: EgressPolicy) -> None:
        guard = Guard(policy)
        silence("fsspec.http")

        async def client(**said: Any) -> aiohttp.ClientSession:
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=READ_S)
            return aiohttp.ClientSession(connector=guard.connector(), timeout=timeout, **said)

        self._headers = {**_ALIKE, **_authorization(credentials)}
        files = HTTPFileSystem(get_client=client, headers=self._headers, skip_instance_cache=True)
        super().__init__(files, location.endpoint)

    async def _head(self, path: str) -> Mapping[str, Any]:
        session = await self._files.set_session()
        address = self._files.encode_url(path)
        async with session.head(address, headers=self._headers, allow_redirects=True) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError
            answer.raise_for_status()
            said = {name: answer.headers.get(name) for name in ("ETag", "Last-Modified")}
            return {**said, "size": answer.headers.get("Content-Length")}

    def _pages(self, bucket: str, prefix: str) -> AsyncIterator[list[Found]]:
        raise NotImplementedError

    async def _create(self, _path: str, _content: bytes) -> None:
        raise ReadOnlyStoreError("Objects behind plain https can be read only")


def _authorization(credentials: Credentials | None) -> dict[str, str]:
    if credentials is not None and credentials.token is not None:
        return {"Authorization": f"Bearer {credentials.token.get_secret_value()}"}
    if credentials is not None and credentials.username is not None and credentials.password is not None:
        said = f"{credentials.username}:{credentials.password.get_secret_value()}"
        return {"Authorization": f"Basic {base64.b64encode(said.encode()).decode()}"}
    return {}
