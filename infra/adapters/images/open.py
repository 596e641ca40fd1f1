"""From a data set's spec to its store."""

from pathlib import Path

import requests

from configs.specs.dataset import DatasetSpec
from infra.adapters.images.base import MOST_BYTES, Credentials, ImageStore
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.folder import FolderStore


def open_store(
    spec: DatasetSpec,
    *,
    credentials: Credentials | None,
    session: requests.Session | None = None,
    most_bytes: int = MOST_BYTES,
) -> ImageStore:
    """Return the store that the spec names; nothing is read yet but a folder's existence.

    Args:
        spec: The data set.
        credentials: For this store alone.
        most_bytes: What one image may take on its way here.
        session: What carries requests to a server; `EgressPolicy.session()` wherever a request named the address.

    Raises:
        InvalidRequestError: If the spec contradicts itself.
        StoreError: If the folder is not there.
    """
    if spec.kind == "folder":
        return FolderStore(Path(spec.url), spec.patient_regex)
    return DicomWebStore(
        spec.url,
        filters=spec.filters,
        credentials=credentials,
        session=session,
        on_gap=spec.on_gap,
        most_bytes=most_bytes,
    )
