"""A DICOMweb server: QIDO-RS to list, WADO-RS to fetch whole series, STOW-RS to add one SEG series per label.

An image is a series, known by its SeriesInstanceUID. Study UIDs are looked up, never trusted from a request.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, ReadOnlyStoreError, StoreError
from infra.adapters.images.base import Credentials, FetchedImage, LabelToStore, StoredImage, StoredLabel
from infra.adapters.security.egress import OnlyTo

NOT_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "DOC"})
PAGE = 500
UNKNOWN = "UNK"
OUR_SERIES = "Teachback"
_UID, _UID_LENGTH = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+"), 64
_CONNECT_S, _READ_S = 10, 120
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_FIELDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "PatientID",
    "IssuerOfPatientID",
    "StudyDate",
    "StudyTime",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)


class DicomWebStore:
    """An `ImageStore` over a DICOMweb server.

    Args:
        url: The service's root, such as `http://pacs:8042/dicom-web`.
        filters: QIDO query string that every listed image has to match, such as `Modality=CT&StudyDate=20260101-`.
        credentials: User and password, or a bearer token; sent to this server only.
        session: What carries the requests; a caller with rules for outgoing addresses gives its own.
        page: Series asked for at once.

    Raises:
        InvalidRequestError: If the address or the filters cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        filters: str = "",
        credentials: Credentials | None = None,
        session: requests.Session | None = None,
        page: int = PAGE,
    ) -> None:
        self._page = page
        self._root = url.rstrip("/")
        try:
            self._filters = dict(parse_qsl(filters.lstrip("?"), strict_parsing=bool(filters)))
            # The client logs every UID that it asks for.
            logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)
            self._session = _session(self._root, session, credentials)
            self._client = DICOMwebClient(self._root, session=self._session, timeout=(_CONNECT_S, _READ_S))
        except ValueError:
            msg = "The DICOMweb address or the filters cannot be read: give http(s)://host/root and key=value&key=value"
            raise InvalidRequestError(msg) from None
        self._client.set_http_retry_params(retry=True, max_attempts=3, wait_exponential_multiplier=200)

    @property
    def identity(self) -> str:
        """Hash of the server's address."""
        return hashlib.sha256(f"dicomweb:{self._root}".encode()).hexdigest()

    def images(self) -> Iterator[StoredImage]:
        """List the series that are images, page by page."""
        for series in self._series(self._filters):
            if series.get("Modality", "") not in NOT_IMAGES:
                yield self._describe(series)

    def labels(self) -> Iterator[StoredLabel]:
        """List the SEG series that speak about a series, reading each one's metadata."""
        narrowed = {key: value for key, value in self._filters.items() if key not in {"Modality", "00080060"}}
        for series in self._series({**narrowed, "Modality": "SEG"}):
            metadata = self._metadata(series.StudyInstanceUID, series.SeriesInstanceUID)
            referenced = _referenced_series(metadata)
            if referenced is not None:
                yield _describe_label(referenced, metadata)

    def image(self, key: str) -> StoredImage:
        """Return the series as it is now."""
        return self._describe(self._image_series(key))

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Write the series as `into/image/*.dcm` in one streamed request; complete, or an error."""
        series = self._image_series(key)
        folder = into / "image"
        folder.mkdir(parents=True)
        hashes = self._save_series(series, folder)
        promised = series.get("NumberOfSeriesRelatedInstances")
        if not hashes or (promised is not None and len(hashes) < int(promised)):
            msg = f"The DICOMweb server sent {len(hashes)} of {promised} instances of the series: ask again"
            raise StoreError(msg)
        return FetchedImage(paths=[folder], sha256=_hash_lines(hashes), meta=self._meta(series))

    def label(self, image: str, key: str) -> StoredLabel:
        """Return the SEG series as it is now."""
        metadata = self._seg_metadata(key)
        if _referenced_series(metadata) != image:
            raise NotFoundError(f"SEG series of the image {image}", key)
        return _describe_label(image, metadata)

    def fetch_label(self, key: str, into: Path) -> Path:
        """Write the SEG; of several in one series the one whose content is newest."""
        series = self._known_series("label", key)
        if series.get("Modality") != "SEG":
            raise NotFoundError("label", key)
        folder = into / "label"
        folder.mkdir(parents=True)
        if not self._save_series(series, folder):
            raise StoreError("The DICOMweb server sent no instance of the SEG series: ask again")
        return max(folder.iterdir(), key=lambda path: _newest(pydicom.dcmread(path, stop_before_pixels=True)))

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Store the SEG as its new series in the image's study."""
        series = self._image_series(image)
        seg = _read_seg(source.path)
        if _referenced_series([seg]) != image or seg.StudyInstanceUID != series.StudyInstanceUID:
            raise InvalidRequestError("The SEG does not refer to the image's series and study: write it for this image")
        wanted = _describe_label(image, [seg])
        if (found := self._find(seg.SeriesInstanceUID)) is not None:
            stored = _describe_label(image, self._metadata(found.StudyInstanceUID, found.SeriesInstanceUID))
            if stored.fingerprint != wanted.fingerprint:
                raise ConflictError("The SEG's SeriesInstanceUID is taken by other content: give it a new one")
            return stored
        with _translated(writing=True):
            answer = self._client.store_instances([seg], study_instance_uid=seg.StudyInstanceUID)
        if answer.get("FailedSOPSequence"):
            reason = answer.FailedSOPSequence[0].get("FailureReason", 0)
            msg = f"The DICOMweb server did not store the SEG (failure reason {int(reason):#06x}): see its log"
            raise StoreError(msg)
        return wanted

    def _save_series(self, series: Dataset, folder: Path) -> list[str]:
        """Write every instance of the series; return a line `<SOP Instance UID> <sha256>` for each."""
        hashes = set()
        with _translated():
            instances = self._client.iter_series(series.StudyInstanceUID, series.SeriesInstanceUID)
            for number, instance in enumerate(instances):
                if instance.get("SeriesInstanceUID") != series.SeriesInstanceUID:
                    raise StoreError("The DICOMweb server sent an instance of another series: ask again")
                content = _encode(instance)
                hashes.add(f"{instance.SOPInstanceUID} {hashlib.sha256(content).hexdigest()}")
                (folder / f"{number:06d}.dcm").write_bytes(content)
        return sorted(hashes)

    def _series(self, filters: dict[str, str]) -> Iterator[Dataset]:
        """Search page by page, until one is empty: servers may give fewer than was asked for."""
        offset, before = 0, None
        while page := self._search(filters, offset):
            first = page[0].get("SeriesInstanceUID")
            if first == before:
                return  # the server knows no offset and gave everything the first time
            yield from (found for found in page if found.get("SeriesInstanceUID") and found.get("StudyInstanceUID"))
            offset, before = offset + len(page), first

    def _search(self, filters: dict[str, str], offset: int) -> list[Dataset]:
        asked = [
            *filters.items(),
            *(("includefield", name) for name in _FIELDS),
            ("limit", self._page),
            ("offset", offset),
        ]
        # Not by the client: it writes the wildcard as %2A, which Orthanc does not decode.
        query = urlencode(asked, quote_via=quote, safe="*-\\")
        with _translated():
            answer = self._session.get(
                f"{self._root}/series?{query}",
                headers={"Accept": "application/dicom+json"},
                timeout=(_CONNECT_S, _READ_S),
            )
            answer.raise_for_status()
            found = answer.json() if answer.content else []
            return [Dataset.from_json(series) for series in found]

    def _find(self, key: str) -> Dataset | None:
        if len(key) > _UID_LENGTH or not _UID.fullmatch(key):
            return None
        return next(self._series({"SeriesInstanceUID": key}), None)

    def _known_series(self, kind: str, key: str) -> Dataset:
        series = self._find(key)
        if series is None or series.SeriesInstanceUID != key:
            raise NotFoundError(kind, key)
        return series

    def _image_series(self, key: str) -> Dataset:
        series = self._known_series("image", key)
        if series.get("Modality", "") in NOT_IMAGES:
            raise NotFoundError("image", key)
        return series

    def _seg_metadata(self, key: str) -> list[Dataset]:
        series = self._known_series("label", key)
        if series.get("Modality") != "SEG":
            raise NotFoundError("label", key)
        return self._metadata(series.StudyInstanceUID, series.SeriesInstanceUID)

    def _metadata(self, study: str, series: str) -> list[Dataset]:
        with _translated():
            found = self._client.retrieve_series_metadata(study, series)
            return [Dataset.from_json(instance, bulk_data_uri_handler=lambda *_: b"") for instance in found]

    def _describe(self, series: Dataset) -> StoredImage:
        count = series.get("NumberOfSeriesRelatedInstances", "")
        issuer = str(series.get("IssuerOfPatientID", "") or "")
        patient = str(series.get("PatientID", "") or "")
        return StoredImage(
            key=series.SeriesInstanceUID,
            patient=f"{issuer}^{patient}" if patient and issuer else patient or None,
            study=series.StudyInstanceUID,
            name=str(series.get("SeriesDescription", "") or "") or str(series.get("Modality", UNKNOWN)),
            meta=self._meta(series),
            # Hashing the instances' UIDs would cost a request per series: a listing has to be cheap.
            fingerprint=_hash_lines([series.SeriesInstanceUID, str(count)]),
        )

    def _meta(self, series: Dataset) -> dict[str, str]:
        told = ("SeriesInstanceUID", "StudyDate", "StudyTime", "Modality", "PatientID", "StudyInstanceUID")
        meta = {name: str(series.get(name, "") or "") or UNKNOWN for name in told}
        place = f"{self._root}/studies/{series.StudyInstanceUID}/series/{series.SeriesInstanceUID}"
        return {**meta, "RetrieveURL": place}


def _session(root: str, session: requests.Session | None, credentials: Credentials | None) -> requests.Session:
    session = session or requests.Session()
    session.trust_env = False  # a .netrc of this host is none of the store's business
    if credentials is not None and credentials.token is not None:
        session.auth = OnlyTo(root, f"Bearer {credentials.token.get_secret_value()}")
    elif credentials is not None and credentials.username is not None:
        password = credentials.password.get_secret_value() if credentials.password else ""
        said = base64.b64encode(f"{credentials.username}:{password}".encode()).decode()
        session.auth = OnlyTo(root, f"Basic {said}")
    return session


def _encode(instance: Dataset) -> bytes:
    with BytesIO() as buffer:
        instance.preamble = b"\0" * 128  # without it a file has no DICM prefix and nobody reads it back
        pydicom.dcmwrite(buffer, instance, enforce_file_format=True)
        return buffer.getvalue()


def _read_seg(path: Path) -> Dataset:
    try:
        seg = pydicom.dcmread(path)
    except (InvalidDicomError, OSError):
        raise InvalidRequestError("A DICOMweb server keeps labels as DICOM SEG, and this is no DICOM file") from None
    if seg.get("Modality") != "SEG":
        raise InvalidRequestError("A DICOMweb server keeps labels as DICOM SEG, and this is another DICOM object")
    seg.preamble = b"\0" * 128
    return seg


def _referenced_series(instances: Sequence[Dataset]) -> str | None:
    """Return the one series that all the SEGs refer to, or None."""
    found = {
        str(reference.SeriesInstanceUID)
        for instance in instances
        for reference in instance.get("ReferencedSeriesSequence", None) or ()
    }
    return found.pop() if len(found) == 1 else None


def _describe_label(image: str, instances: Sequence[Dataset]) -> StoredLabel:
    types = {
        segment.get("SegmentAlgorithmType", "")
        for instance in instances
        for segment in instance.get("SegmentSequence", None) or ()
    }
    newest = max(instances, key=_newest)
    return StoredLabel(
        image=image,
        key=str(newest.SeriesInstanceUID),
        fingerprint=_hash_lines(sorted(str(instance.SOPInstanceUID) for instance in instances)),
        automatic=types == {"AUTOMATIC"},
        ours=str(newest.get("Manufacturer", "")) == OUR_SERIES,
        changed=_changed(newest),
    )


def _newest(instance: Dataset) -> tuple[str, str, int]:
    date, time = str(instance.get("ContentDate", "") or ""), str(instance.get("ContentTime", "") or "")
    return date, time, int(instance.get("InstanceNumber", 0) or 0)


def _changed(instance: Dataset) -> datetime | None:
    date, time, _ = _newest(instance)
    try:
        return datetime.strptime(date + (time[:6] or "000000"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _hash_lines(lines: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(lines).encode())
    return f"sha256:{digest.hexdigest()}"


@contextmanager
def _translated(*, writing: bool = False) -> Iterator[None]:
    """Turn the client's failures into ours, without the address: it holds UIDs."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        msg = f"The DICOMweb server answered {status}"
        if writing and status in {HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
            raise ReadOnlyStoreError(f"{msg} to a new label: it lets us read only") from None
        if status in _REFUSED:
            raise StoreError(f"{msg}: check the data set's credentials") from None
        raise StoreError(f"{msg}: check its log and the data set's address") from None
    except requests.JSONDecodeError:
        raise StoreError("The DICOMweb server did not answer with JSON: check the data set's address") from None
    except requests.RequestException as error:
        msg = f"The DICOMweb server could not be reached ({type(error).__name__}): check that it runs and its address"
        raise StoreError(msg) from None
    except (InvalidDicomError, ValueError, TypeError, KeyError, AttributeError, EOFError) as error:
        msg = f"The DICOMweb server's answer is no DICOM that can be read ({type(error).__name__}): see its log"
        raise StoreError(msg) from None
