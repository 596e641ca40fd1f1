"""What is asked of a DICOMweb server, and how much of its answer is taken: a bounded part, never all at once."""

import base64
import json
import logging
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import requests

from configs.errors import DamagedImageError, StoreError, TeachbackError
from infra.adapters.images.base import Credentials
from infra.adapters.images.multipart import boundary_of, parts_of
from infra.adapters.security.egress import OnlyTo

CONNECT_S, READ_S = 10, 120
"""What any image store may take to let us in, and to say something."""
# Metadata of a study of 10,000 slices, with room to spare.
MOST_JSON_BYTES = 256 * 2**20
_JSON = "application/dicom+json"
_CHUNK_BYTES = 2**20
_TRIES, _PAUSE_S = 3, 0.2
_PASSING = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


def silence(*clients: str) -> None:
    """Have stores' clients log nothing: they log each address, path and UID that they ask for."""
    for client in clients:
        logging.getLogger(client).setLevel(logging.CRITICAL)


class Web:
    """GET requests to one DICOMweb server.

    Args:
        root: The service's root, without a slash at its end.
        session: What carries the requests.
    """

    def __init__(self, root: str, session: requests.Session) -> None:
        self._root = root
        self._session = session

    def listed(self, path: str) -> list[dict[str, Any]]:
        """Return a JSON answer: a list of data sets; empty for an empty answer.

        Raises:
            requests.RequestException: If the server does not answer, or refuses.
            ValueError: If what it answers is no such list.
            StoreError: If it answers without end.
        """
        with self._get(path, _JSON) as answer:
            return data_sets(answer, MOST_JSON_BYTES)

    def bodies(self, path: str, accept: str, most_bytes: int) -> Iterator[Iterator[bytes]]:
        """Yield the parts of a multipart answer, each in pieces, to be read to its end before the next is asked for.

        Raises:
            requests.RequestException: If the server does not answer, or refuses.
            DamagedImageError: If it sends more than `most_bytes`.
            StoreError: If the answer is cut off.
        """
        msg = f"The server sends more than {most_bytes} bytes: split the series, or raise volume_mib"
        with self._get(path, accept) as answer:
            pieces = _bounded(answer, most_bytes, DamagedImageError(msg))
            boundary = boundary_of(answer.headers.get("Content-Type", ""))
            if boundary is None:
                yield pieces  # a server that has but one instance may send it bare
            else:
                yield from parts_of(pieces, boundary)

    def _get(self, path: str, accept: str) -> requests.Response:
        for attempt in range(_TRIES):
            answer = self._session.get(
                f"{self._root}/{path}", headers={"Accept": accept}, timeout=(CONNECT_S, READ_S), stream=True
            )
            # What a proxy says while its server starts again; any other refusal would be repeated for nothing.
            if answer.status_code not in _PASSING or attempt == _TRIES - 1:
                break
            answer.close()
            time.sleep(_PAUSE_S * 2**attempt)
        if not answer.ok:
            with answer:
                answer.raise_for_status()
        return answer


def data_sets(answer: requests.Response, most_bytes: int) -> list[dict[str, Any]]:
    """Return what a JSON answer lists; nothing for an empty answer.

    Raises:
        requests.RequestException: If it breaks off.
        ValueError: If it is no list of data sets.
        StoreError: If it has more than `most_bytes`.
    """
    endless = StoreError(f"The server lists more than {most_bytes} bytes in one answer: see its log")
    content = b"".join(_bounded(answer, most_bytes, endless))
    found = json.loads(content) if content.strip() else []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("an answer that is no list of data sets")
    return found


def _bounded(answer: requests.Response, most_bytes: int, beyond: TeachbackError) -> Iterator[bytes]:
    """Yield an answer's bytes, unpacked, as far as they are allowed; raise *beyond* when there are more."""
    size = 0
    for piece in answer.iter_content(_CHUNK_BYTES):
        size += len(piece)
        if size > most_bytes:
            raise beyond
        yield piece


def session_for(root: str, session: requests.Session | None, credentials: Credentials | None) -> requests.Session:
    """Return the session, a new one by default, that gives the credentials to this root alone."""
    session = session or requests.Session()
    session.trust_env = False  # a .netrc of this host is none of the store's business
    if credentials is not None and credentials.token is not None:
        session.auth = OnlyTo(root, f"Bearer {credentials.token.get_secret_value()}")
    elif credentials is not None and credentials.username is not None:
        password = credentials.password.get_secret_value() if credentials.password else ""
        said = base64.b64encode(f"{credentials.username}:{password}".encode()).decode()
        session.auth = OnlyTo(root, f"Basic {said}")
    return session
