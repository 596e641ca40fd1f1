"""A data set's DICOMweb server, asked for a caller: only what the data set has is found and given."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import requests
from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy import select

from configs.errors import ForbiddenError, InvalidRequestError, NotFoundError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import datasets
from infra.adapters.catalog.tables import Image, Label
from infra.adapters.images.web import CONNECT_S, READ_S, data_sets, session_for
from infra.adapters.images.web_errors import translated
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.images.stores import credentials_for

MOST_FOUND_BYTES = 32 * 2**20
"""Of one page of a search: it is held in memory to be sifted."""
# A data set of a few series behind a PACS of millions: a viewer's search ends some day.
MOST_PAGES = 40
_UID = r"[0-9.]{1,64}"
_SEARCH = re.compile(rf"studies|series|instances|studies/{_UID}/(series|instances|metadata)")
_OF_SERIES = re.compile(rf"studies/({_UID})/series/({_UID})(/[A-Za-z0-9._/-]*)?")
_JSON = "application/dicom+json"
_MORE = {"warning": '299 teachback "There are more: narrow the search"'}
_PAGE, _LEAST_PAGE = 500, 100
_AT_ONCE = 1000  # values in one question to the catalog
_MODALITIES = frozenset({"Modality", "00080060"})
_OF_STUDIES = frozenset(
    {
        "AccessionNumber",
        "ModalitiesInStudy",
        "PatientBirthDate",
        "PatientID",
        "PatientName",
        "PatientSex",
        "StudyDate",
        "StudyDescription",
        "StudyID",
        "StudyInstanceUID",
        "StudyTime",
    }
)
"""What a search for studies can be narrowed by; a server may refuse, or find nothing by, what its series have."""
_PASSED = ("accept", "range", "if-none-match", "if-modified-since")
_TOLD = (
    "content-type",
    "content-length",
    "content-range",
    "accept-ranges",
    "content-encoding",
    "etag",
    "last-modified",
)
_PIECE = 2**16


@dataclass(frozen=True)
class Relayed:
    """A server's answer, as it comes."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class _Element(BaseModel):
    values: list[Any] = Field(default=[], alias="Value")

    @property
    def uid(self) -> str:
        """The first value."""
        return str(self.values[0]) if self.values else ""


class _Found(BaseModel):
    """Where a finding belongs; of a study only that."""

    study: _Element = Field(default=_Element(), alias="0020000D")
    series: _Element = Field(default=_Element(), alias="0020000E")


@dataclass(frozen=True)
class _Asked:
    """A data set's server, and what a caller wants of it."""

    parts: Parts
    dataset_id: str
    spec: DatasetSpec
    path: str
    headers: Mapping[str, str]


def ask(parts: Parts, caller: Caller, dataset_id: str, path: str, query: str, headers: Mapping[str, str]) -> Relayed:
    """Ask the server of a data set for *path*, with the query as it came.

    Raises:
        NotFoundError: If there is no such data set, or it has no such series.
        InvalidRequestError: If the data set is no DICOMweb server's.
        ForbiddenError: If more than the data set's series would be given.
        StoreError: If the server does not answer, or answers a search with something else.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = datasets.get(session, caller.org, dataset_id)
        spec = DatasetSpec.model_validate(row.spec)
    if spec.kind != "dicomweb":
        raise InvalidRequestError(f"Data set {row.name!r} is a {spec.kind}: only a DICOMweb server's can be asked so")
    asked = _Asked(parts, dataset_id, spec, path, headers)
    if _SEARCH.fullmatch(path):
        return _searched(asked, query)
    of_series = _OF_SERIES.fullmatch(path)
    if of_series is None or "//" in path or ".." in path:
        raise ForbiddenError("Here studies, series and instances are searched for, and those of one series retrieved")
    if not _has_series(asked, of_series[1], of_series[2]):
        raise NotFoundError("series", of_series[2])
    return _relayed(_get(asked, f"{path}?{query}" if query else path))


def _has_series(asked: _Asked, study: str, series: str) -> bool:
    """Say whether a series is the data set's; where several are one image, all of its studies' are."""
    if _series_of(asked, [series]):
        return True
    if not asked.spec.channels or not _studies_of(asked, [study]):
        return False
    # That it is this study's is the server's word, never the request's.
    answer = _get(asked, f"studies/{study}/series?SeriesInstanceUID={series}", search=True)
    if not answer.ok:
        answer.close()
        return False
    return any((one.study.uid, one.series.uid) == (study, series) for one, _ in _findings(answer))


def _searched(asked: _Asked, query: str) -> Relayed:
    """Search page by page until as many are found as were asked for: the server counts what is not ours, too."""
    said = parse_qsl(query, keep_blank_values=True)
    limit, skip = _number(said, "limit"), _number(said, "offset") or 0
    if "/" in asked.path and limit is None and not skip:
        answer = _get(asked, f"{asked.path}?{query}" if query else asked.path, search=True)
        return _answered([each for _, each in _ours(asked, _findings(answer))]) if answer.ok else _relayed(answer)
    size = min(max(_PAGE if limit is None else limit, _LEAST_PAGE), _PAGE)
    said = [pair for pair in said if pair[0] not in {"limit", "offset"}]
    said += _narrowed(asked, {name for name, _ in said})
    ours: list[Mapping[str, Any]] = []
    offset, before = 0, None
    for _ in range(MOST_PAGES):
        paging = {"limit": _PAGE, "offset": offset} if offset else {"limit": size}
        wanted = urlencode([*said, *paging.items()], quote_via=quote, safe="*-\\,")
        answer = _get(asked, f"{asked.path}?{wanted}", search=True)
        if not answer.ok and not offset:
            return _relayed(answer)
        page = _findings(answer)
        if not page or page[0][1] == before:  # that is a server that knows no offset
            return _answered(ours[skip:])
        ours += [each for _, each in _ours(asked, page)]
        if limit is not None and len(ours) >= skip + limit:
            return _answered(ours[skip : skip + limit])
        offset, before = offset + len(page), page[0][1]
    return _answered(ours[skip:], _MORE)


def _number(said: Sequence[tuple[str, str]], name: str) -> int | None:
    """Return what was said of paging; None if nothing, or no number."""
    return next((int(value) for key, value in said if key == name and value.isdecimal()), None)


def _narrowed(asked: _Asked, said: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the data set's own filters where the caller's words don't stand; SEGs are of another modality."""
    of_studies = asked.path == "studies"
    for name, value in parse_qsl(asked.spec.filters.lstrip("?")) if "/" not in asked.path else ():
        told = "ModalitiesInStudy" if of_studies and name in _MODALITIES else name
        known = told in _OF_STUDIES if of_studies else name not in _MODALITIES
        if known and told not in said:
            yield told, value


def _get(asked: _Asked, wanted: str, *, search: bool = False) -> requests.Response:
    spec = asked.spec
    policy = asked.parts.egress.trusting(spec.url) if spec.by_admin else asked.parts.egress
    session = session_for(spec.url, policy.session(), credentials_for(asked.parts, asked.dataset_id))
    passed = {name: value for name, value in asked.headers.items() if name.lower() in _PASSED}
    passed = {"accept": _JSON} if search else passed
    try:
        address = f"{spec.url.rstrip('/')}/{wanted}"
        # Not packed: what is relayed is neither unpacked nor counted here.
        sent = {**passed, "accept-encoding": "identity"}
        return session.get(address, headers=sent, timeout=(CONNECT_S, READ_S), stream=True, allow_redirects=False)
    except requests.RequestException as error:
        raise StoreError(f"The DICOMweb server does not answer ({type(error).__name__}): ask again soon") from None


def _relayed(answer: requests.Response) -> Relayed:
    told = {name: value for name, value in answer.headers.items() if name.lower() in _TOLD}
    return Relayed(answer.status_code, told, _streamed(answer))


def _streamed(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        yield from answer.raw.stream(_PIECE, decode_content=False)


def _answered(found: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None) -> Relayed:
    content = json.dumps(found).encode()
    return Relayed(HTTPStatus.OK, {"content-type": _JSON, **(headers or {})}, iter([content]))


def _findings(answer: requests.Response) -> list[tuple[_Found, dict[str, Any]]]:
    """Return what was found, and where each belongs."""
    with translated(), answer:
        answer.raise_for_status()
        found = data_sets(answer, MOST_FOUND_BYTES)
        return list(zip(TypeAdapter(list[_Found]).validate_python(found), found, strict=True))


def _ours(asked: _Asked, found: Sequence[tuple[_Found, dict[str, Any]]]) -> Iterator[tuple[_Found, dict[str, Any]]]:
    """Yield what the data set has: its filters are a wall for whoever may read it alone."""
    by_study = bool(asked.spec.channels)
    series = _series_of(asked, {one.series.uid for one, _ in found})
    studies = _studies_of(asked, {one.study.uid for one, _ in found if by_study or not one.series.uid})
    for one, each in found:
        if one.series.uid in series or ((by_study or not one.series.uid) and one.study.uid in studies):
            yield one, each


def _series_of(asked: _Asked, uids: Collection[str]) -> set[str]:
    """Return which of these are images of the data set, or labels that it has."""
    some = sorted(uid for uid in uids if uid)
    known: set[str] = set()
    with asked.parts.catalog.read() as session:
        for begin in range(0, len(some), _AT_ONCE):
            keys = some[begin : begin + _AT_ONCE]
            mine = (Label.dataset_id == asked.dataset_id, Label.store_key.in_(keys), Label.deleted_at.is_(None))
            known.update(session.scalars(select(Label.store_key).where(*mine)))
            images = (Image.dataset_id == asked.dataset_id, Image.key.in_(keys))
            known.update(session.scalars(select(Image.key).where(*images)))
    return known


def _studies_of(asked: _Asked, uids: Collection[str]) -> set[str]:
    """Return which of these are studies that the data set has images of."""
    some = sorted(uid for uid in uids if uid)
    known: set[str] = set()
    with asked.parts.catalog.read() as session:
        for begin in range(0, len(some), _AT_ONCE):
            mine = (Image.dataset_id == asked.dataset_id, Image.study.in_(some[begin : begin + _AT_ONCE]))
            known.update(session.scalars(select(Image.study).where(*mine).distinct()))
    return known
