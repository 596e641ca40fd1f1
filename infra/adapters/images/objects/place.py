"""Which object store an address means, told by the address alone.

S3      s3://BUCKET/…, https://BUCKET.s3[.REGION].amazonaws.com/…, https://s3.REGION.amazonaws.com/BUCKET/…,
        <s3_endpoint>/BUCKET/…
Azure   https://ACCOUNT.blob.core.windows.net/CONTAINER/…, and abfs[s]:// or az:// with CONTAINER/… or
        CONTAINER@ACCOUNT.dfs.core.windows.net/…
Google  gs:// or gcs://BUCKET/…, https://storage.googleapis.com/BUCKET/…, https://BUCKET.storage.googleapis.com/…
https   anything else over http(s) that names its manifest, https://…/NAME.json; what does not is a DICOMweb server
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError

ObjectKind = Literal["s3", "azure", "gcs", "web"]
SCHEMES: dict[str, ObjectKind] = {
    "s3": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure",
}  # fmt: skip
MANIFEST = "manifest.json"
_WEB = ("http", "https")
_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d+"
_S3 = re.compile(
    rf"(?:(?P<bucket>[a-z0-9][a-z0-9.-]+)\.)?s3[.-](?:dualstack\.)?(?:(?P<region>{_REGION})\.)?amazonaws\.com(?:\.cn)?"
)
_AZURE = re.compile(r"(?P<account>[a-z0-9]{3,24})\.(?:blob|dfs)\.core\.(?P<cloud>[a-z.]+)")
_GCS = re.compile(r"(?:(?P<bucket>[a-z0-9][a-z0-9._-]+)\.)?storage\.(?:googleapis|cloud\.google)\.com")


class Endpoints(BaseModel):
    """Where the operator has S3 and Google Cloud Storage, if not at Amazon and Google."""

    model_config = ConfigDict(frozen=True)

    s3: str = ""
    gcs: str = ""


class Location(NamedTuple):
    """One place in an object store. `path` is `bucket/key…`; behind plain https the whole address."""

    kind: ObjectKind
    endpoint: str
    path: str
    account: str = ""
    region: str = ""

    def same_store(self, other: "Location") -> bool:
        """Whether what opens one of them opens the other; an account that an address leaves out is the other's."""
        if self.kind != other.kind:
            return False
        if self.kind == "azure":
            return len({self.account, other.account} - {""}) <= 1
        return self.endpoint == other.endpoint


class ObjectPlace(NamedTuple):
    """Where a data set is: its folder, and the manifest in it."""

    root: Location
    manifest: str

    @property
    def manifest_path(self) -> str:
        """The manifest's own path."""
        return f"{self.root.path}/{self.manifest}"


def object_place(url: str, endpoints: Endpoints) -> ObjectPlace | None:
    """Return the data set that an address names; None if it is no object store's.

    Raises:
        InvalidRequestError: If it is one's, and names no bucket, or carries a query.
    """
    found = location_of(url, endpoints)
    if found is None:
        return None
    folder, _, last = found.path.rpartition("/")
    if last.lower().endswith(".json") and folder:
        return ObjectPlace(found._replace(path=folder), last)
    return None if found.kind == "web" else ObjectPlace(found, MANIFEST)


def location_of(url: str, endpoints: Endpoints) -> Location | None:
    """Return the place in an object store that an address means; None if it is of another kind.

    Raises: as `object_place`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return None
    kind = SCHEMES.get(scheme.lower())
    found = _of_scheme(kind, rest, endpoints) if kind else None
    if found is None and scheme.lower() in _WEB:
        found = _of_web(url, endpoints)
    if found is not None and not found.path.strip("/"):
        raise InvalidRequestError("The address names no bucket or container: add it, such as s3://bucket/folder")
    return found


def _of_scheme(kind: ObjectKind, rest: str, endpoints: Endpoints) -> Location:
    first, _, key = rest.partition("/")
    path = _joined(first, key) if first else ""
    if kind == "s3":
        return Location("s3", endpoints.s3, path)
    if kind == "gcs":
        return Location("gcs", endpoints.gcs, path)
    container, _, host = first.partition("@")
    at = _AZURE.fullmatch(host.lower())
    account, cloud = (at["account"], at["cloud"]) if at else ("", "")
    return Location("azure", _azure_endpoint(account, cloud), _joined(container, key), account)


def _of_web(url: str, endpoints: Endpoints) -> Location:
    try:
        parsed = urlsplit(url)
        host = (parsed.hostname or "").lower()
    except ValueError:
        raise InvalidRequestError("The address cannot be read: give https://host[:port]/path") from None
    key = unquote(parsed.path).strip("/")
    found = next((made for make in _HOSTS if (made := make(host, key, endpoints)) is not None), None)
    found = found or _of_endpoint(parsed, key, endpoints)
    if parsed.query and (found is not None or key.lower().endswith(".json")):
        raise InvalidRequestError("The address carries a query: leave it out, and give a SAS as client_secret")
    return found or Location("web", f"{parsed.scheme}://{parsed.netloc}", url.partition("?")[0].rstrip("/"))


def _of_amazon(host: str, key: str, _endpoints: Endpoints) -> Location | None:
    at = _S3.fullmatch(host)
    return Location("s3", "", _joined(at["bucket"] or "", key), region=at["region"] or "") if at else None


def _of_azure(host: str, key: str, _endpoints: Endpoints) -> Location | None:
    at = _AZURE.fullmatch(host)
    return Location("azure", _azure_endpoint(at["account"], at["cloud"]), key, at["account"]) if at else None


def _of_google(host: str, key: str, endpoints: Endpoints) -> Location | None:
    at = _GCS.fullmatch(host)
    return Location("gcs", endpoints.gcs, _joined(at["bucket"] or "", key)) if at else None


_HOSTS: tuple[Callable[[str, str, Endpoints], Location | None], ...] = (_of_amazon, _of_azure, _of_google)


def _of_endpoint(parsed: SplitResult, key: str, endpoints: Endpoints) -> Location | None:
    origin = f"{parsed.scheme}://{parsed.netloc}".lower()
    for kind, endpoint in (("s3", endpoints.s3), ("gcs", endpoints.gcs)):
        if endpoint and origin == endpoint.lower().rstrip("/"):
            return Location(kind, endpoint, key)  # type: ignore[arg-type]  # mypy widens the literals of the tuple
    return None


def _azure_endpoint(account: str, cloud: str) -> str:
    return f"https://{account}.blob.core.{cloud or 'windows.net'}" if account else ""


def _joined(bucket: str, key: str) -> str:
    return "/".join(part for part in (bucket, key.strip("/")) if part)
