"""Google Cloud Storage by gcsfs: with a service account's JSON; HMAC keys go the way of S3."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import aiohttp
from gcsfs.core import GCSFileSystem
from gcsfs.retry import retry_request
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials as ServiceAccount

from configs.errors import AccessError, InvalidRequestError, StoreError
from infra.adapters.images.base import Credentials
from infra.adapters.images.objects.faults import TO_CHANGE
from infra.adapters.images.objects.files import Found, ObjectFiles, found_of
from infra.adapters.images.objects.place import Location
from infra.adapters.images.web import CONNECT_S, READ_S, silence
from infra.adapters.security.egress import EgressPolicy
from infra.adapters.security.egress_async import Guard

HOST = "https://storage.googleapis.com"
HMAC = "GOOG"
"""How the access id of an HMAC key begins."""
# The most that the service gives at a time: a listing's cost is its pages.
_PAGE = 1000
# gcsfs waits longer after each: a person is told after seconds that the store is down.
_TRIES = 3
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class GoogleFiles(ObjectFiles):
    """Objects in Google Cloud Storage.

    Args:
        location: Where.
        credentials: A service account's JSON as the password; none = what everybody may read.
        policy: Which addresses may be called, for tokens too.

    Raises:
        InvalidRequestError: If the JSON is no service account's.
    """

    kind = "gcs"

    def __init__(self, location: Location, credentials: Credentials | None, policy: EgressPolicy) -> None:
        silence("gcsfs")
        token = _account(credentials, policy) if credentials is not None else "anon"
        address = location.endpoint or HOST
        super().__init__(_FileSystem(address, token, Guard(policy)), address)

    async def _head(self, path: str) -> Mapping[str, Any]:
        bucket, _, key = path.partition("/")
        said: Mapping[str, Any] = await self._files._call("GET", "b/{}/o/{}", bucket, key, json_out=True)  # noqa: SLF001 - in our loop
        return said

    async def _pages(self, bucket: str, prefix: str) -> AsyncIterator[list[Found]]:
        token = None
        while True:
            page = await self._files._call(  # noqa: SLF001 - as above
                "GET", "b/{}/o", bucket, json_out=True, prefix=prefix or None, maxResults=_PAGE, pageToken=token
            )
            yield [found_of(f"{bucket}/{each['name']}", each) for each in page.get("items", ())]
            token = page.get("nextPageToken")
            if not token:
                return


class _FileSystem(GCSFileSystem):  # type: ignore[misc]  # gcsfs ships no types
    """The one without gRPC, whose connections pass the guard; it gives up sooner."""

    cachable = False
    _request = retry_request(GCSFileSystem._request.__wrapped__, retries=_TRIES)  # noqa: SLF001 - six tries take half a minute

    def __init__(self, endpoint: str, token: "ServiceAccount | str", guard: Guard) -> None:
        self._guard = guard
        super().__init__(
            project="", token=token, endpoint_url=endpoint, use_listings_cache=False, skip_instance_cache=True
        )

    async def _set_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=READ_S)
            self.session_kwargs = {"connector": self._guard.connector(), "timeout": timeout}
        session: aiohttp.ClientSession = await super()._set_session()
        return session


class _Account(ServiceAccount):
    """A service account whose token is fetched under the policy."""

    policy: EgressPolicy

    def refresh(self, request: Request) -> None:
        """Fetch a token; raises AccessError if Google gives none to this account."""
        del request  # the caller's goes anywhere
        with self.policy.session() as session:
            try:
                super().refresh(Request(session))  # type: ignore[no-untyped-call]  # google-auth is half typed
            except GoogleAuthError as error:
                if "Transport" in type(error).__name__:
                    raise StoreError("Google's tokens cannot be fetched: check this host's way out") from None
                msg = f"Google gives no token to the service account: it is wrong or revoked; {TO_CHANGE}"
                raise AccessError(msg) from None


def _account(credentials: Credentials, policy: EgressPolicy) -> _Account:
    try:
        said = json.loads(credentials.password.get_secret_value() if credentials.password else "")
        account = _Account.from_service_account_info(said, scopes=[_SCOPE])  # type: ignore[no-untyped-call]  # as above
    except (ValueError, TypeError, AttributeError, GoogleAuthError):
        msg = "Google Cloud Storage is entered by a service account's JSON as client_secret, or by an HMAC key:"
        raise InvalidRequestError(f"{msg} its access id (GOOG…) as client_id, its secret as client_secret") from None
    account.policy = policy
    return cast(_Account, account)
