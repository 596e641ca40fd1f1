"""An image behind an address that a request names: of no data set, fetched under the egress policy."""

import hashlib
import uuid
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from configs.errors import InvalidRequestError
from configs.specs.dataset import OnGap
from infra.adapters.artifacts.fetch import fetch, state_of
from infra.adapters.images.base import ZIPPED, FetchedImage, StoredImage
from infra.adapters.images.files import hash_file
from infra.adapters.images.folder_layout import IMAGE_ENDINGS

# Somebody waits for the answer; a server that drips must not hold its place for longer.
FETCHED_WITHIN_S = 300.0
_SCHEMES = ("http://", "https://")
DICOM = ".dcm"
KNOWN_ENDINGS = (*IMAGE_ENDINGS, ZIPPED, DICOM)
_OWNER = "addresses"


def is_address(image: str) -> bool:
    """Say whether an image is named by its address and not by its id."""
    return image.lower().startswith(_SCHEMES)


def name_in(address: str) -> str:
    """Return what a person would call the image: the last part of the address's path, without the file's ending."""
    last = unquote(urlsplit(address).path).rsplit("/", 1)[-1]
    return last.removesuffix(ending_of(last))


class AddressedImage:
    """An `ImageSource` of one image.

    Args:
        address: The image's.
        session: What calls it; `EgressPolicy.session()`.
        most_bytes: What the image may take on its way here.
        once: The state that it has where its server tells none; a fresh one if none is given.
    """

    on_gap: OnGap = "refuse"

    def __init__(self, address: str, session: requests.Session, most_bytes: int, once: str = "") -> None:
        self._address, self._session, self._most_bytes = address, session, most_bytes
        self._once = once or uuid.uuid4().hex

    @property
    def identity(self) -> str:
        """Hash of the address."""
        return hashlib.sha256(f"{_OWNER}:{self._address}".encode()).hexdigest()

    def image(self, key: str) -> StoredImage:
        """Return the image as it is now; one whose server tells no state is another each time it is asked for.

        Raises:
            InvalidRequestError: If the address cannot be asked, or may not.
        """
        state = state_of(self._address, self._session) or self._once
        return StoredImage(key=key, patient=None, study=None, name=key, meta={}, fingerprint=state)

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Write the image's file to `into`.

        Raises:
            InvalidRequestError: If it cannot be fetched, is too large or too slow, or its name says no format.
        """
        ending = ending_of(urlsplit(self._address).path)
        if not ending:
            known = ", ".join(KNOWN_ENDINGS)
            raise InvalidRequestError(f"The address of an image has to end in one of {known}: its format is told by it")
        target = into / "image" / f"{key}{ending}"
        target.parent.mkdir(parents=True)
        fetch(self._address, target, self._session, most_bytes=self._most_bytes, within_s=FETCHED_WITHIN_S)
        path = target.parent if ending == DICOM else target
        return FetchedImage(paths=[path], sha256=hash_file(target), meta={})


def ending_of(path: str) -> str:
    """Return how the name of an image's file ends; empty if that says no format."""
    return next((ending for ending in KNOWN_ENDINGS if path.lower().endswith(ending)), "")
