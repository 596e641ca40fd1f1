"""Azure Blob by adlfs: with an account's key, a shared access signature (SAS), or a connection string."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import aiohttp
from adlfs import AzureBlobFileSystem
from azure.core.exceptions import ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobServiceClient, LinearRetry

from configs.errors import InvalidRequestError
from infra.adapters.images.base import Credentials
from infra.adapters.images.objects.files import Found, ObjectFiles, found_of
from infra.adapters.images.objects.place import Location
from infra.adapters.images.web import CONNECT_S, READ_S, silence
from infra.adapters.security.egress import EgressPolicy
from infra.adapters.security.egress_async import Guard

# The most that the service gives at a time: a listing's cost is its pages.
_PAGE = 5000
_CONNECTION = ("accountkey", "sharedaccesssignature", "blobendpoint")
_HOW = "give the account's key, a SAS or a connection string as client_secret, and the account's name as client_id"


class Entry(NamedTuple):
    """How an account is entered: where it is, and with what. Neither key nor SAS = what everybody may read."""

    url: str
    account: str
    key: str = ""
    sas: str = ""


class AzureFiles(ObjectFiles):
    """Objects in Azure Blob.

    Args:
        location: Where.
        credentials: The secret tells what it is.
        policy: Which addresses may be called.

    Raises:
        InvalidRequestError: If nothing says which account is meant, or the credentials are of another kind.
    """

    kind = "azure"

    def __init__(self, location: Location, credentials: Credentials | None, policy: EgressPolicy) -> None:
        silence("adlfs", "azure")
        entry = entry_of(location, credentials)
        self.expires = _expiry(entry.sas)
        try:
            super().__init__(_FileSystem(entry, Guard(policy)), entry.url)
        except ValueError:
            raise InvalidRequestError(f"The Azure credentials cannot be read: {_HOW}") from None

    async def _head(self, path: str) -> Mapping[str, Any]:
        container, _, key = path.partition("/")
        async with self._files.service_client.get_blob_client(container, key) as blob:
            try:
                said: Mapping[str, Any] = await blob.get_blob_properties()
            except ResourceNotFoundError as error:
                raise FileNotFoundError from error
            return said

    async def _pages(self, bucket: str, prefix: str) -> AsyncIterator[list[Found]]:
        async with self._files.service_client.get_container_client(bucket) as container:
            pages = container.list_blobs(name_starts_with=prefix or None, results_per_page=_PAGE).by_page()
            async for page in pages:
                yield [found_of(f"{bucket}/{each['name']}", each) async for each in page]


class _FileSystem(AzureBlobFileSystem):  # type: ignore[misc]  # adlfs ships no types
    """One that takes no credentials of this host, and whose connections pass the guard."""

    cachable = False

    def __init__(self, entry: Entry, guard: Guard) -> None:
        self._entry, self._guard = entry, guard
        super().__init__(account_name=entry.account, anon=True, use_listings_cache=False, skip_instance_cache=True)

    def do_connect(self) -> None:
        """Make the client that everything goes through."""
        entry = self._entry
        self.service_client = BlobServiceClient(
            f"{entry.url}?{entry.sas}" if entry.sas else entry.url,
            credential={"account_name": entry.account, "account_key": entry.key} if entry.key else None,
            transport=_Transport(self._guard),
            # Azure's own waits grow to minutes; whoever looks at a data set waits for this answer.
            retry_policy=LinearRetry(backoff=1, retry_total=2),
            connection_timeout=CONNECT_S,
            read_timeout=READ_S,
        )


class _Transport(AioHttpTransport):  # type: ignore[misc]  # azure gives it by a lazy import
    """Azure's own, over connections that the guard lets through."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(use_env_settings=False)  # a proxy of the environment would go around the policy
        self._guard = guard

    async def open(self) -> None:
        """Open the session, in the loop that uses it."""
        if not self._has_been_opened:
            # Not unpacked: the hash is of what the store has, and sizes were announced of that.
            jar, connector = aiohttp.DummyCookieJar(), self._guard.connector()
            self.session = aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False)
        await super().open()


def entry_of(location: Location, credentials: Credentials | None) -> Entry:
    """Return how the account is entered.

    Raises:
        InvalidRequestError: If nothing says which account is meant, or a token is given.
    """
    if credentials is not None and credentials.token is not None:
        raise InvalidRequestError(f"Azure is entered by no bearer token: {_HOW}")
    secret = credentials.password.get_secret_value().strip() if credentials and credentials.password else ""
    named = location.account or (credentials.username if credentials and credentials.username else "") or ""
    said = _said_by(secret)
    account = said.get("accountname", "") or named
    if location.account and account != location.account:
        raise InvalidRequestError("The connection string is another account's than the address's: give one of the two")
    suffix, scheme = said.get("endpointsuffix", "core.windows.net"), said.get("defaultendpointsprotocol", "https")
    url = location.endpoint or said.get("blobendpoint", "").rstrip("/") or f"{scheme}://{account}.blob.{suffix}"
    if not account:
        raise InvalidRequestError(f"Nothing says which Azure account is meant: {_HOW}")
    if said:
        return Entry(url, account, said.get("accountkey", ""), said.get("sharedaccesssignature", "").lstrip("?"))
    return Entry(url, account, sas=secret.lstrip("?")) if "sig=" in secret else Entry(url, account, key=secret)


def _said_by(secret: str) -> dict[str, str]:
    """Return a connection string's parts by their names in lower case; nothing if it is none."""
    parts = dict(part.split("=", 1) for part in secret.split(";") if "=" in part)
    said = {name.strip().lower(): value.strip() for name, value in parts.items()}
    return said if any(name in said for name in _CONNECTION) else {}


def _expiry(sas: str) -> datetime | None:
    """Return when a SAS ends, by its own word."""
    ends = parse_qs(sas).get("se", [""])[0]
    try:
        found = datetime.fromisoformat(ends)
    except ValueError:
        return None
    # A SAS says UTC by a Z, or leaves it out.
    return found if found.tzinfo else found.replace(tzinfo=UTC)
