"""Where a bundle comes from: a folder or archive of this machine, an address, an object store."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from configs.errors import ForbiddenError, InvalidRequestError
from configs.settings import Settings
from infra.adapters.artifacts.fetch import STORES, fetch
from infra.wiring import Parts
from tasks.bundles.unpack import MAX_BYTES

SETTING = "TEACHBACK_BUNDLE_SOURCES"
# Weights of gigabytes over a slow line; a server that drips must still end some day.
_WITHIN_S = 1800.0
_SCHEMES = STORES | {"http", "https"}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def is_address(source: str) -> bool:
    """Say whether a source is fetched, and no path."""
    return urlsplit(source).scheme in _SCHEMES


def shown(source: str) -> str:
    """Return a source as it is noted and shown: an address without its query, which may be a secret."""
    return urlsplit(source)._replace(query="", fragment="").geturl() if is_address(source) else source


@contextmanager
def at_hand(parts: Parts, source: str) -> Iterator[Path]:
    """Give a source as a folder or archive of this machine, while the block runs.

    Raises:
        ForbiddenError: If the address is none that bundles may come from.
        InvalidRequestError: If there is nothing, it cannot be fetched, or the egress policy refuses it.
    """
    if not is_address(source):
        yield _existing(source)
        return
    _allowed(parts.settings, source)
    folder = parts.settings.home / "work"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="fetch-") as scratch:
        file = Path(scratch) / _file_name(source)
        # What an admin registers is allowed by that act, whatever network it is in; redirects are judged as ever.
        with parts.egress.trusting(source).session() if _is_web(source) else parts.egress.session() as session:
            fetch(source, file, session, most_bytes=MAX_BYTES, within_s=_WITHIN_S)
        yield file


def _existing(source: str) -> Path:
    folder = Path(source)
    try:
        if folder.is_absolute() and folder.exists():
            return folder
    except (OSError, ValueError):  # a name that no file can have
        pass
    raise InvalidRequestError(
        "There is no bundle of this name on the server's machine: give an absolute path, or an address that begins"
        f" with {', '.join(f'{scheme}://' for scheme in sorted(_SCHEMES))}"
    )


def _allowed(settings: Settings, source: str) -> None:
    """Refuse a host or bucket that is not on the list of those that bundles come from."""
    host = (urlsplit(source).hostname or "").lower()
    if settings.single_machine and host in _LOOPBACK:
        return
    patterns = [entry.strip().lower() for entry in settings.bundle_sources.split(",") if entry.strip()]
    if not any(fnmatchcase(host, pattern) for pattern in patterns):
        raise ForbiddenError(
            f"Bundles are code, and {host!r} is not among the hosts and buckets that they may come from:"
            f" {SETTING} lists {', '.join(patterns) or 'none'}"
        )


def _is_web(source: str) -> bool:
    return urlsplit(source).scheme not in STORES


def _file_name(source: str) -> str:
    """Return the last part of the address's path as a file name."""
    last = PurePosixPath(unquote(urlsplit(source).path)).name
    return re.sub(r"[^A-Za-z0-9._-]", "_", last)[-100:].lstrip(".") or "bundle"
