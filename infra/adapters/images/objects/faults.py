"""What went wrong in an object store, read from what its client raised: each kind of failure in its own words.

The clients' own texts name buckets, paths and signatures, so none of them is passed on.
"""

import asyncio
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from configs.errors import AccessError, ReadOnlyStoreError, StoreError, TeachbackError, is_full

_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_WRONG = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "InvalidToken"})
_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired", "RequestExpired"})
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"})
_NAMES = {"s3": "S3 store", "azure": "Azure Blob store", "gcs": "Google Cloud Storage", "web": "web server"}
TO_CHANGE = "PATCH with another key or client_secret"


class Answer(NamedTuple):
    """What a store answered: an HTTP status, 0 for none at all, and the store's own code, if it gave one."""

    status: int = 0
    code: str = ""


class NotThereError(Exception):
    """An object, or the bucket, is not there."""

    def __init__(self, answer: Answer) -> None:
        self.no_bucket = answer.code in _NO_BUCKET
        super().__init__(answer.code)


def raise_fault(error: BaseException, kind: str, *, expired: bool = False, writing: bool = False) -> None:
    """Raise what a client's error means.

    Args:
        error: What the client raised.
        kind: The store's kind.
        expired: Whether the credentials say of themselves that their time is over.
        writing: Whether something was written, which a store may forbid for good.

    Raises:
        NotThereError: If the object or its bucket is not there.
        FileExistsError: If it is, and should have been made.
        AccessError: If the store refuses the credentials.
        ReadOnlyStoreError: If it refuses to be written.
        TeachbackError: What one of our own parts raised beneath the client, such as the egress policy.
        OSError: If this host's disk is full.
        StoreError: If it cannot be reached, or fails in another way.
    """
    chain = list(_chain(error))
    ours = next((one for one in chain if isinstance(one, TeachbackError) or is_full(one)), None)
    if ours is not None:
        raise ours from None
    if any(isinstance(one, FileExistsError) for one in chain):
        raise FileExistsError from None
    answer, name = answer_of(chain), _NAMES[kind]
    if answer.status in {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED} and writing:
        raise FileExistsError from None
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NotThereError(answer) from None
    if expired or answer.code in _EXPIRED:
        raise AccessError(f"The {name} refuses the credentials: they have expired; {TO_CHANGE}") from None
    if writing and answer.status == HTTPStatus.FORBIDDEN and answer.code not in _WRONG:
        raise ReadOnlyStoreError(f"The {name} does not let these credentials write") from None
    if answer.status in _REFUSED or answer.code in _WRONG:
        said = f"{answer.status}{f' {answer.code}' if answer.code else ''}"
        msg = f"The {name} refuses the credentials ({said}): they are wrong or lack the right; {TO_CHANGE}"
        raise AccessError(msg) from None
    if answer.status:
        msg = f"The {name} answered {answer.status} {answer.code}".rstrip()
        raise StoreError(f"{msg}: check the data set's address, and the store's log") from None
    if isinstance(chain[-1], OSError):
        reason = type(chain[-1]).__name__
        raise StoreError(f"The {name} cannot be reached ({reason}): check that it runs, and its address") from None
    raise StoreError(f"The {name}'s answer broke off or cannot be read ({type(error).__name__}): ask again") from None


def answer_of(chain: list[BaseException]) -> Answer:
    """Return what the store said, from wherever one of its clients keeps it."""
    status, code = 0, ""
    for error in chain:
        found = _told(error)
        status, code = status or found.status, code or found.code
    return Answer(status, code)


def _told(error: BaseException) -> Answer:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        meta, said = response.get("ResponseMetadata", {}), response.get("Error", {})
        code = str(said.get("Code", ""))
        return Answer(int(meta.get("HTTPStatusCode", 0) or 0), "" if code.isdigit() else code)
    for name in ("status_code", "status", "code"):  # azure, aiohttp, gcsfs
        value = getattr(error, name, None)
        if isinstance(value, int) and value >= HTTPStatus.BAD_REQUEST:
            code = getattr(error, "error_code", "") or ""
            return Answer(value, str(getattr(code, "value", code)))
    if isinstance(error, FileNotFoundError):
        return Answer(HTTPStatus.NOT_FOUND)
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and str(error).startswith("Forbidden")):
        return Answer(HTTPStatus.FORBIDDEN)  # gcsfs says it in words alone
    return Answer()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen = set[int]()
    while error is not None and id(error) not in seen and not isinstance(error, asyncio.CancelledError):
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
