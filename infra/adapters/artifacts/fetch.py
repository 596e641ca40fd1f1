"""One file from an address, bounded in size and in time."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import requests

from configs.errors import InvalidRequestError

STORES = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "az"})
_WEB = frozenset({"http", "https"})
_BLOCK = 2**20
_ANSWERS_WITHIN_S = (10.0, 60.0)  # to connect, and between two pieces


def fetch(url: str, to: Path, session: requests.Session, *, most_bytes: int, within_s: float) -> None:
    """Write what an address gives to a file.

    Args:
        url: http(s), or an object store's, which is read with this machine's own credentials for it.
        to: The file, which holds a part if it cannot be fetched whole.
        session: What calls http(s), under the egress policy.
        most_bytes: More is refused, whatever the server has said.
        within_s: Longer is given up.

    Raises:
        InvalidRequestError: If it cannot be fetched; the message names the host and nothing else of the address.
    """
    place = urlsplit(url)
    ends = time.monotonic() + within_s
    with to.open("wb") as file:
        for block in _of_web(url, session) if place.scheme in _WEB else _of_store(url):
            file.write(block)
            if file.tell() > most_bytes:
                raise InvalidRequestError(f"What {place.hostname} sends is larger than {most_bytes} bytes: refused")
            if time.monotonic() > ends:
                raise InvalidRequestError(f"{place.hostname} did not send all within {within_s:.0f} s: given up")


def state_of(url: str, session: requests.Session) -> str:
    """Return what changes when the content behind an http(s) address does; empty where its server tells nothing.

    Asked by a GET that ends after the headers: signed addresses allow nothing else.

    Raises:
        InvalidRequestError: As `fetch`.
    """
    with _answer(url, session) as answer:
        told = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified")]
        return "\n".join([*told, answer.headers.get("Content-Length", "")]) if any(told) else ""


def _of_web(url: str, session: requests.Session) -> Iterator[bytes]:
    with _answer(url, session) as answer:
        yield from answer.iter_content(_BLOCK)


@contextmanager
def _answer(url: str, session: requests.Session) -> Iterator[requests.Response]:
    host = urlsplit(url).hostname
    try:
        with session.get(url, stream=True, timeout=_ANSWERS_WITHIN_S) as answer:
            if not answer.ok:
                raise InvalidRequestError(f"{host} answers {answer.status_code} {answer.reason} for this address")
            yield answer
    except requests.RequestException as error:
        raise InvalidRequestError(f"{host} cannot be asked for this address: {type(error).__name__}") from error


def _of_store(url: str) -> Iterable[bytes]:
    place = urlsplit(url)
    try:
        with fsspec.open(url, "rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except Exception as error:  # every store has errors of its own
        said = f"{place.scheme}://{place.hostname} cannot be read with this machine's credentials"
        raise InvalidRequestError(f"{said}: {type(error).__name__}") from error
