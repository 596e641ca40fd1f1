"""Opens object stores, each once while it is used: to make a client takes longer than to fetch a small image."""

from collections import OrderedDict
from threading import Lock

from infra.adapters.images.base import Credentials
from infra.adapters.images.objects.files import ObjectFiles
from infra.adapters.images.objects.place import Endpoints, Location
from infra.adapters.security.egress import EgressPolicy

# Each holds connections and threads; a server with more data sets opens the least used ones anew.
MOST_OPEN = 16


class ObjectStores:
    """The object stores of one process.

    Args:
        egress: Which addresses may be called.
        endpoints: The operator's own, which may be called whatever the policy says of others.
    """

    def __init__(self, egress: EgressPolicy, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._egress = egress
        self._lock = Lock()
        self._open: OrderedDict[object, ObjectFiles] = OrderedDict()

    def open(self, location: Location, credentials: Credentials | None, *, trusted: bool = False) -> ObjectFiles:
        """Return the objects of a place.

        Args:
            location: Where; the key within its bucket makes no difference.
            credentials: For this store alone.
            trusted: Whether an admin named the address, and so allowed it.

        Raises:
            InvalidRequestError: If the address may not be called, or the credentials are of another kind.
            StoreError: If its name cannot be resolved.
        """
        asked = (location._replace(path=""), credentials, trusted)
        with self._lock:
            found = self._open.pop(asked, None)
        if found is None:
            policy = self._policy(location, trusted=trusted)
            found = _opened(location, credentials, policy)
            policy.check(found.address)
        with self._lock:
            self._open[asked] = found
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        return found

    def _policy(self, location: Location, *, trusted: bool) -> EgressPolicy:
        # Of what the address names alone: a connection string names one, too, and not only an admin gives that.
        by_operator = location.endpoint in {self.endpoints.s3, self.endpoints.gcs}
        allowed = location.endpoint and (trusted or by_operator)
        return self._egress.trusting(location.endpoint) if allowed else self._egress


def _opened(location: Location, credentials: Credentials | None, policy: EgressPolicy) -> ObjectFiles:
    if location.kind == "s3":
        from infra.adapters.images.objects.s3 import S3Files  # noqa: PLC0415 - takes a second to import

        return S3Files(location, credentials, policy)
    if location.kind == "azure":
        from infra.adapters.images.objects.azure import AzureFiles  # noqa: PLC0415 - as above

        return AzureFiles(location, credentials, policy)
    if location.kind == "gcs":
        from infra.adapters.images.objects.google import HMAC, HOST, GoogleFiles  # noqa: PLC0415 - as above

        if credentials is not None and (credentials.username or "").startswith(HMAC):
            return _opened(Location("s3", location.endpoint or HOST, "", region="auto"), credentials, policy)
        return GoogleFiles(location, credentials, policy)
    from infra.adapters.images.objects.web import WebFiles  # noqa: PLC0415 - as above

    return WebFiles(location, credentials, policy)
