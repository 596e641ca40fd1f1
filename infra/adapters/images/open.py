"""From a data set's spec to its store."""

from pathlib import Path

import requests

from configs.errors import InvalidRequestError
from configs.specs.dataset import DatasetSpec
from infra.adapters.images.base import MOST_BYTES, Credentials, ImageStore, Keep
from infra.adapters.images.channels import check_channels
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.folder import FolderStore
from infra.adapters.images.folder_dicom import Known
from infra.adapters.images.objects.place import object_place
from infra.adapters.images.objects.store import ObjectStore
from infra.adapters.images.objects.stores import ObjectStores


def open_store(
    spec: DatasetSpec,
    *,
    credentials: Credentials | None,
    session: requests.Session | None = None,
    most_bytes: int = MOST_BYTES,
    objects: ObjectStores | None = None,
    keep: Keep | None = None,
    known: Known | None = None,
    keep_free_bytes: int = 0,
) -> ImageStore:
    """Return the store that the spec names; nothing is read yet but a folder's existence.

    Args:
        spec: The data set.
        credentials: For this store alone.
        most_bytes: What one image may take on its way here.
        session: What carries requests to a server; `EgressPolicy.session()` wherever a request named the address.
        objects: What opens object stores.
        keep: This host's cache, for what a manifest, or a folder of DICOM files, says.
        known: Which DICOM series a folder's images are already.
        keep_free_bytes: What images that are put into a folder leave of its disk.

    Raises:
        InvalidRequestError: If the spec contradicts itself, or its address may not be called.
        StoreError: If the folder is not there, or the address's name cannot be resolved.
    """
    if spec.kind == "folder":
        return FolderStore(Path(spec.url), spec.patient_regex, spec.channels, keep, spec.on_gap, known, keep_free_bytes)
    if spec.kind == "dicomweb":
        return DicomWebStore(
            spec.url,
            filters=spec.filters,
            credentials=credentials,
            session=session,
            on_gap=spec.on_gap,
            most_bytes=most_bytes,
            channels=spec.channels,
        )
    check_channels(spec.kind, spec.channels)
    place = object_place(spec.url, objects.endpoints) if objects is not None else None
    if objects is None or keep is None or place is None:
        raise InvalidRequestError(f"The address is no {spec.kind} store's, or nothing here opens one")
    files = objects.open(place.root, credentials, trusted=spec.by_admin)
    return ObjectStore(place, files, keep, endpoints=objects.endpoints, on_gap=spec.on_gap, most_bytes=most_bytes)
