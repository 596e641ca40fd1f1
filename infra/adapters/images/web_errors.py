"""A DICOMweb client's failures → ours, without the address: it holds UIDs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests

from configs.errors import AccessError, DamagedImageError, ReadOnlyStoreError, StoreError
from infra.adapters.images.part10 import DAMAGE_IN_MEMORY

_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_READ_ONLY = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
_ABOUT_ONE_IMAGE = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.GONE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)


@contextmanager
def translated(*, writing: bool = False, one_image: bool = False) -> Iterator[None]:
    """Raise our errors for the client's.

    Args:
        writing: Whether a label is written, which a server may forbid for good.
        one_image: Whether an image is fetched that the server has just listed: a refusal is about that image then.
    """
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        msg = f"The DICOMweb server answered {status}"
        if writing and status in _READ_ONLY:
            raise ReadOnlyStoreError(f"{msg} to a new label: it lets us read only") from None
        if status in _REFUSED:
            raise AccessError(f"{msg}: check the data set's credentials") from None
        if one_image and status in _ABOUT_ONE_IMAGE:
            raise DamagedImageError(f"{msg} for this image alone: check its log") from None
        raise StoreError(f"{msg}: check its log and the data set's address") from None
    except json.JSONDecodeError:
        raise StoreError("The DICOMweb server did not answer with JSON: check the data set's address") from None
    except requests.RequestException as error:
        msg = f"The DICOMweb server could not be reached ({type(error).__name__}): check that it runs and its address"
        raise StoreError(msg) from None
    except DAMAGE_IN_MEMORY as error:  # what reading an answer may raise, not what writing it here may
        msg = f"The DICOMweb server's answer is no DICOM that can be read ({type(error).__name__}): see its log"
        raise (DamagedImageError(msg) if one_image else StoreError(msg)) from None
