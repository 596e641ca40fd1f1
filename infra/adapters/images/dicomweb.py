"""A DICOMweb server: QIDO-RS to list, WADO-RS to fetch whole series, STOW-RS to add one SEG series per label.

An image is a series, known by its SeriesInstanceUID; or several series of a study, known by that of the first channel.
Study UIDs are looked up, never trusted from a request.
"""

import hashlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from configs.errors import ConflictError, DamagedImageError, InvalidRequestError, NotFoundError, StoreError
from configs.specs.dataset import Channel, OnGap
from infra.adapters.images.base import (
    MOST_BYTES,
    NOT_IMAGES,
    Credentials,
    FetchedImage,
    LabelToStore,
    StoredImage,
    StoredLabel,
)
from infra.adapters.images.channels import check_channels, chosen_series
from infra.adapters.images.dicom_fields import FIELDS, HEADERS
from infra.adapters.images.files import write_hashed
from infra.adapters.images.part10 import read_dicom
from infra.adapters.images.patient import dicom_patient
from infra.adapters.images.seg import OUR_SERIES, describe_seg, hash_lines, newest, read_seg, referenced_series
from infra.adapters.images.sent_series import SentSeries, already, identified, is_uid, sent_series
from infra.adapters.images.series_watch import SeriesWatch
from infra.adapters.images.web import CONNECT_S, READ_S, Web, session_for, silence
from infra.adapters.images.web_errors import translated

PAGE = 500
UNKNOWN = "UNK"
_STORED_AT_ONCE = 50
_DICOM = 'multipart/related; type="application/dicom"'
_UNKNOWN_SYNTAX = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE})


class DicomWebStore:
    """An `ImageStore` over a DICOMweb server.

    Args:
        url: The service's root, such as `http://pacs:8042/dicom-web`.
        filters: QIDO query string that every listed image has to match, such as `Modality=CT&StudyDate=20260101-`.
        credentials: User and password, or a bearer token; sent to this server only.
        session: What carries the requests; a caller with rules for outgoing addresses gives its own.
        on_gap: What is to become of series that are no regular grid.
        page: Series asked for at once.
        most_bytes: What one series may have in the server's answer.
        channels: Which series of a study are one image together; none = each series is an image.

    Raises:
        InvalidRequestError: If the address or the filters cannot be read, or the channels contradict each other.
    """

    def __init__(
        self,
        url: str,
        *,
        filters: str = "",
        credentials: Credentials | None = None,
        session: requests.Session | None = None,
        on_gap: OnGap = "refuse",
        page: int = PAGE,
        most_bytes: int = MOST_BYTES,
        channels: Sequence[Channel] = (),
    ) -> None:
        check_channels("dicomweb", channels)
        self._channels = channels
        self._page, self._most_bytes = page, most_bytes
        self.on_gap = on_gap
        self._root = url.rstrip("/")
        try:
            self._filters = dict(parse_qsl(filters.lstrip("?"), strict_parsing=bool(filters)))
            silence("dicomweb_client")
            self._session = session_for(self._root, session, credentials)
            self._web = Web(self._root, self._session)
            self._client = DICOMwebClient(self._root, session=self._session, timeout=(CONNECT_S, READ_S))
        except ValueError:
            msg = "The DICOMweb address or the filters cannot be read: give http(s)://host/root and key=value&key=value"
            raise InvalidRequestError(msg) from None
        # Storing goes through it, too: a SEG of ours has the same UIDs each time, so that twice makes one.
        self._client.set_http_retry_params(retry=True, max_attempts=3, wait_exponential_multiplier=200)

    @property
    def identity(self) -> str:
        """Hash of the server's address."""
        channels = [f"\n{channel.SeriesDescription}" for channel in self._channels]
        return hashlib.sha256(f"dicomweb:{self._root}{''.join(channels)}".encode()).hexdigest()

    def watch(self) -> SeriesWatch:
        """Return what tells when series came or went, SEGs among them."""
        return SeriesWatch(self._uids, [self._filters, self._seg_filters()])

    def images(self) -> Iterator[StoredImage]:
        """List the series page by page; those that are no images say so, and SEGs of ours are left out.

        With channels it is the studies, once all series are listed: servers give these in any order.
        """
        if self._channels:
            studies: dict[str, list[Dataset]] = {}
            for series in self._series(self._filters):
                if series.get("Modality", "") not in NOT_IMAGES:
                    studies.setdefault(series.StudyInstanceUID, []).append(series)
            yield from map(self._describe_study, studies.values())
            return
        for series in self._series(self._filters):
            modality = str(series.get("Modality", "") or "")
            ours = modality == "SEG" and str(series.get("SeriesDescription", "") or "").startswith(OUR_SERIES)
            if not ours:
                yield self._describe(series)

    def headers(self, key: str) -> list[Dataset] | None:
        """Return what the series' metadata says of its kind and geometry."""
        series = self._image_series(key)
        with translated(one_image=True):
            found = self._web.listed(f"{_place(series)}/metadata")
            told = [{tag: value for tag, value in instance.items() if tag in HEADERS} for instance in found]
            return [Dataset.from_json(instance, bulk_data_uri_handler=lambda *_: b"") for instance in told]

    def labels(self, seen: Collection[str] = ()) -> Iterator[StoredLabel]:
        """List the SEG series that speak about a series; only those that were not seen cost a request each."""
        for series in self._segs():
            mark = self._mark(series)
            if mark in seen:
                continue
            metadata = self._metadata(series)
            found = None
            with suppress(InvalidRequestError):  # one that is damaged keeps nobody from the others
                referenced = referenced_series(metadata)
                found = describe_seg(referenced, metadata) if referenced is not None else None
            if found is not None:
                yield found.model_copy(update={"mark": mark})

    def label_keys(self) -> set[str]:
        """Return the SEG series' UIDs."""
        return {str(series.SeriesInstanceUID) for series in self._segs()}

    def image(self, key: str) -> StoredImage:
        """Return the series as it is now, with the others of its study that are its channels."""
        series = self._image_series(key)
        if not self._channels:
            return self._describe(series)
        found = self._describe_study(self._study_of(series))
        if found.key != key:
            raise NotFoundError("image", key)
        return found

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Write each series as `into/image[-<channel>]/*.dcm` in one streamed request; complete, or an error."""
        series = self._image_series(key)
        several, fault = [series], ""
        if self._channels:
            several, fault = chosen_series(self._channels, self._study_of(series))
        if fault:
            raise DamagedImageError(f"The study's series are no image now ({fault}): list the data set again")
        folders = [into / (f"image-{number}" if number else "image") for number in range(len(several))]
        hashes = [self._fetch_series(one, folder) for one, folder in zip(several, folders, strict=True)]
        sha256 = hashes[0] if len(hashes) == 1 else hash_lines(hashes)
        return FetchedImage(paths=folders, sha256=sha256, meta=self._meta(series))

    def _fetch_series(self, series: Dataset, folder: Path) -> str:
        folder.mkdir(parents=True)
        hashes = self._save_series(series, folder)
        promised = series.get("NumberOfSeriesRelatedInstances")
        # A stream that ends early ends well for HTTP; and fewer slices would be another volume.
        if not hashes or (promised is not None and len(hashes) < int(promised)):
            msg = f"The DICOMweb server sent {len(hashes)} of {promised} instances of the series: ask again"
            raise DamagedImageError(msg)
        return hash_lines(hashes)

    def label(self, image: str, key: str) -> StoredLabel:
        """Return the SEG series as it is now."""
        metadata = self._seg_metadata(key)
        if referenced_series(metadata) != image:
            raise NotFoundError(f"SEG series of the image {image}", key)
        return describe_seg(image, metadata)

    def arrived(self, key: str) -> StoredImage | StoredLabel | None:
        """Return the image or label that a series is; None if there is none, or it is neither."""
        series = self._find(key)
        if series is None or series.SeriesInstanceUID != key:
            return None
        if series.get("Modality") == "SEG":
            metadata = self._metadata(series)
            image = referenced_series(metadata)
            return describe_seg(image, metadata) if image else None
        if series.get("Modality", "") in NOT_IMAGES:
            return None
        return self._describe_study(self._study_of(series)) if self._channels else self._describe(series)

    def fetch_label(self, key: str, into: Path) -> Path:
        """Write the SEG; of several in one series the one whose content is newest."""
        series = self._known_series("label", key)
        if series.get("Modality") != "SEG":
            raise NotFoundError("label", key)
        folder = into / "label"
        folder.mkdir(parents=True)
        if not self._save_series(series, folder):
            raise StoreError("The DICOMweb server sent no instance of the SEG series: ask again")
        with translated():
            return max(folder.iterdir(), key=lambda path: newest(read_dicom(path, pixels=False)))

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Store the SEG as its new series in the image's study."""
        series = self._image_series(image)
        seg = read_seg(source.path)
        if seg.StudyInstanceUID != series.StudyInstanceUID:
            raise InvalidRequestError("The SEG does not refer to the image's study: write it for this image")
        return self.add_seg(image, source)

    def add_seg(self, image: str, source: LabelToStore) -> StoredLabel:
        """Store the SEG as its new series, whether or not the server has the image; repeating it changes nothing."""
        seg = read_seg(source.path)
        if referenced_series([seg]) != image:
            raise InvalidRequestError("The SEG does not refer to the image's series: write it for this image")
        wanted = describe_seg(image, [seg])
        if (found := self._find(seg.SeriesInstanceUID)) is not None:
            stored = describe_seg(image, self._metadata(found))
            if stored.fingerprint != wanted.fingerprint:
                raise ConflictError("The SEG's SeriesInstanceUID is taken by other content: give it a new one")
            return stored
        self._store([seg])
        return wanted

    def _store(self, instances: list[Dataset]) -> None:
        """Store instances of one study."""
        with translated(writing=True):
            answer = self._client.store_instances(instances, study_instance_uid=instances[0].StudyInstanceUID)
        if answer.get("FailedSOPSequence"):
            reason = answer.FailedSOPSequence[0].get("FailureReason", 0)
            msg = f"The DICOMweb server did not store what was sent (failure reason {int(reason):#06x}): see its log"
            raise StoreError(msg)

    def put_image(self, key: str, source: Path) -> StoredImage:
        """Store a series' instances, as far as the server has not got them; they keep their UIDs."""
        if not source.is_dir() or self._channels:
            raise InvalidRequestError("A DICOMweb server takes the DICOM files of a series, and of one channel alone")
        sent = sent_series(source, key, self._filters)
        found = self._find(key)
        known = self._checked(found, sent) if found is not None else set()
        missing = [path for uid, path in sorted(sent.files.items()) if uid not in known]
        for first in range(0, len(missing), _STORED_AT_ONCE):
            self._store([read_dicom(path) for path in missing[first : first + _STORED_AT_ONCE]])
        if not self._within(key):
            raise InvalidRequestError("The server has the series now, but the data set's filters leave it out")
        return self.image(key)

    def _within(self, key: str) -> bool:
        return next(self._series({**self._filters, "SeriesInstanceUID": key}), None) is not None

    def _checked(self, found: Dataset, sent: SentSeries) -> set[str]:
        """Return what the server has of a series, if that is the data set's and as it was sent."""
        own, images = self._within(str(found.SeriesInstanceUID)), found.get("Modality", "") not in NOT_IMAGES
        if str(found.StudyInstanceUID) != sent.study or not (own and images):
            raise ConflictError("The server has this series, and not as an image of this data set: nothing is added")
        with tempfile.TemporaryDirectory(prefix="series-") as folder:
            self._save_series(found, Path(folder))
            return already(sent, Path(folder))

    def _save_series(self, series: Dataset, folder: Path) -> list[str]:
        """Write every instance of the series as it is stored; return a line `<SOP Instance UID> <sha256>` for each."""
        hashes = set()
        with translated(one_image=True):
            for number, pieces in enumerate(self._instances(series)):
                path = folder / f"{number:06d}.dcm"
                sha256 = write_hashed(pieces, path)
                instance = identified(path)
                if instance.get("SeriesInstanceUID") != series.SeriesInstanceUID:
                    raise DamagedImageError("The DICOMweb server sent an instance of another series: ask again")
                hashes.add(f"{instance.SOPInstanceUID} {sha256}")
        return sorted(hashes)

    def _instances(self, series: Dataset) -> Iterator[Iterator[bytes]]:
        """Yield the instances as they are stored; a server that has to decode may do it wrongly, and sends more."""
        place = _place(series)
        try:
            yield from self._web.bodies(place, f"{_DICOM}; transfer-syntax=*", self._most_bytes)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code not in _UNKNOWN_SYNTAX:
                raise
            yield from self._web.bodies(place, _DICOM, self._most_bytes)

    def _series(self, filters: dict[str, str]) -> Iterator[Dataset]:
        """Search page by page, until one is empty: servers may give fewer than was asked for."""
        offset, before = 0, None
        while page := self._search(filters, offset):
            first = page[0].get("SeriesInstanceUID")
            if first == before:
                return  # the server knows no offset and gave everything the first time
            yield from (found for found in page if found.get("SeriesInstanceUID") and found.get("StudyInstanceUID"))
            offset, before = offset + len(page), first

    def _segs(self) -> Iterator[Dataset]:
        """Search the SEG series of what is listed, whichever modality the images are asked for by."""
        return self._series(self._seg_filters())

    def _seg_filters(self) -> dict[str, str]:
        narrowed = {key: value for key, value in self._filters.items() if key not in {"Modality", "00080060"}}
        return {**narrowed, "Modality": "SEG"}

    def _uids(self, filters: dict[str, str], offset: int, limit: int) -> list[str]:
        return [str(found.get("SeriesInstanceUID", "")) for found in self._search(filters, offset, limit, fields=())]

    def _search(
        self, filters: dict[str, str], offset: int, limit: int = 0, *, fields: Sequence[str] = FIELDS
    ) -> list[Dataset]:
        asked = [
            *filters.items(),
            *(("includefield", name) for name in fields),
            ("limit", limit or self._page),
            ("offset", offset),
        ]
        # Not by the client: it writes the wildcard as %2A, which Orthanc does not decode.
        query = urlencode(asked, quote_via=quote, safe="*-\\")
        with translated():
            return [Dataset.from_json(series) for series in self._web.listed(f"series?{query}")]

    def _find(self, key: str) -> Dataset | None:
        if not is_uid(key):
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
        return self._metadata(series)

    def _metadata(self, series: Dataset) -> list[Dataset]:
        with translated():
            found = self._web.listed(f"{_place(series)}/metadata")
            return [Dataset.from_json(instance, bulk_data_uri_handler=lambda *_: b"") for instance in found]

    def _mark(self, series: Dataset) -> str:
        # Hashing the instances' UIDs would cost a request per series: a listing has to be cheap.
        return hash_lines([series.SeriesInstanceUID, str(series.get("NumberOfSeriesRelatedInstances", ""))])

    def _describe(self, series: Dataset) -> StoredImage:
        modality = str(series.get("Modality", "") or "")
        return StoredImage(
            key=series.SeriesInstanceUID,
            patient=dicom_patient(series),
            study=series.StudyInstanceUID,
            name=str(series.get("SeriesDescription", "") or "") or str(series.get("Modality", UNKNOWN)),
            meta=self._meta(series),
            fingerprint=self._mark(series),
            skipped=f"no image: it is {modality}" if modality in NOT_IMAGES else "",
        )

    def _study_of(self, series: Dataset) -> list[Dataset]:
        """Return the images' series of a series' study, as far as the filters let them through."""
        found = self._series({**self._filters, "StudyInstanceUID": str(series.StudyInstanceUID)})
        return [one for one in found if one.get("Modality", "") not in NOT_IMAGES]

    def _describe_study(self, study: Sequence[Dataset]) -> StoredImage:
        """Return the image that the study's series are, by the first channel's; or the study, and why it is none."""
        several, fault = chosen_series(self._channels, study)
        if fault:
            marks = hash_lines(sorted(map(self._mark, study)))
            told = {"key": study[0].StudyInstanceUID, "skipped": fault, "fingerprint": marks}
            return self._describe(study[0]).model_copy(update=told)
        return self._describe(several[0]).model_copy(update={"fingerprint": hash_lines([*map(self._mark, several)])})

    def _meta(self, series: Dataset) -> dict[str, str]:
        told = ("SeriesInstanceUID", "StudyDate", "StudyTime", "Modality", "PatientID", "StudyInstanceUID")
        meta = {name: str(series.get(name, "") or "") or UNKNOWN for name in told}
        place = f"{self._root}/studies/{series.StudyInstanceUID}/series/{series.SeriesInstanceUID}"
        maker = str(series.get("Manufacturer", "") or "").strip()  # with the modality, an image's cohort by default
        return {**meta, "RetrieveURL": place, **({"Manufacturer": maker} if maker else {})}


def _place(series: Dataset) -> str:
    """Return the path of a series under the service's root, made of nothing but UIDs."""
    uids = str(series.StudyInstanceUID), str(series.SeriesInstanceUID)
    if not all(map(is_uid, uids)):
        raise ValueError("a series whose UIDs are none")
    return f"studies/{uids[0]}/series/{uids[1]}"
