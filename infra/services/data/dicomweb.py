"""A data set's DICOMweb server, asked for a caller: only what the data set has is found and given."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from sqlalchemy import or_, select

from configs.errors import ForbiddenError, InvalidRequestError, NotFoundError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import datasets
from infra.adapters.catalog.tables import Image, Label
from infra.adapters.images.web import CONNECT_S, MOST_JSON_BYTES, READ_S, session_for
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.images.stores import credentials_for

_UID = r"[0-9.]{1,64}"
_SEARCH = re.compile(rf"studies|series|instances|studies/{_UID}/(series|instances|metadata)")
_OF_SERIES = re.compile(rf"studies/{_UID}/series/({_UID})(/[A-Za-z0-9._/-]*)?")
_SERIES, _STUDY = "0020000E", "0020000D"
_JSON = "application/dicom+json"
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


def ask(parts: Parts, caller: Caller, dataset_id: str, path: str, query: str, headers: Mapping[str, str]) -> Relayed:
    """Ask the server of a data set for *path*, with the query as it came.

    Raises:
        NotFoundError: If there is no such data set, or it has no such series.
        InvalidRequestError: If the data set is no DICOMweb server's.
        ForbiddenError: If more than the data set's series would be given.
        StoreError: If the server does not answer.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = datasets.get(session, caller.org, dataset_id)
        spec = DatasetSpec.model_validate(row.spec)
    if spec.kind != "dicomweb":
        raise InvalidRequestError(f"Data set {row.name!r} is a {spec.kind}: only a DICOMweb server's can be asked so")
    searched, of_series = _SEARCH.fullmatch(path), _OF_SERIES.fullmatch(path)
    if searched is None and (of_series is None or "//" in path or ".." in path):
        raise ForbiddenError("Here studies, series and instances are searched for, and those of one series retrieved")
    if of_series is not None and of_series[1] not in _known(parts, dataset_id, [of_series[1]]):
        raise NotFoundError("series", of_series[1])
    answer = _get(parts, dataset_id, spec, f"{path}?{query}" if query else path, headers, search=searched is not None)
    if searched is None or not answer.ok:
        told = {name: value for name, value in answer.headers.items() if name.lower() in _TOLD}
        return Relayed(answer.status_code, told, _streamed(answer))
    return Relayed(answer.status_code, {"content-type": _JSON}, iter([_only_ours(parts, dataset_id, answer)]))


def _get(
    parts: Parts, dataset_id: str, spec: DatasetSpec, path: str, headers: Mapping[str, str], *, search: bool
) -> requests.Response:
    policy = parts.egress.trusting(spec.url) if spec.by_admin else parts.egress
    session = session_for(spec.url, policy.session(), credentials_for(parts, dataset_id))
    passed = {name: value for name, value in headers.items() if name.lower() in _PASSED}
    passed = {**passed, **({"accept": _JSON} if search else {}), "accept-encoding": "identity"}
    try:
        address = f"{spec.url.rstrip('/')}/{path}"
        return session.get(address, headers=passed, timeout=(CONNECT_S, READ_S), stream=True, allow_redirects=False)
    except requests.RequestException as error:
        raise StoreError(f"The DICOMweb server does not answer ({type(error).__name__}): ask again soon") from None


def _streamed(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        yield from answer.raw.stream(_PIECE, decode_content=False)


def _only_ours(parts: Parts, dataset_id: str, answer: requests.Response) -> bytes:
    """Return what was found without what the data set has not: its filters are a wall for whoever may read it alone."""
    with answer:
        content = answer.raw.read(MOST_JSON_BYTES + 1, decode_content=True) or b"[]"
    try:
        found: list[dict[str, Any]] = json.loads(content) if len(content) <= MOST_JSON_BYTES else []
    except ValueError:
        raise StoreError("The DICOMweb server answers a search with something that is no JSON") from None
    uids = {_uid(each) for each in found}
    known = _known(parts, dataset_id, uids)
    return json.dumps([each for each in found if _uid(each) in known]).encode()


def _uid(found: Mapping[str, Any]) -> str:
    """Return a finding's series, or its study where it is one."""
    for tag in (_SERIES, _STUDY):
        values = found.get(tag, {}).get("Value", [])
        if values:
            return str(values[0])
    return ""


def _known(parts: Parts, dataset_id: str, uids: Collection[str]) -> set[str]:
    """Return which of these are series or studies of the data set, or labels that it knows of."""
    study = Image.meta["StudyInstanceUID"].as_string()
    images = select(Image.key, study).where(Image.dataset_id == dataset_id, or_(Image.key.in_(uids), study.in_(uids)))
    labels = select(Label.store_key).where(Label.dataset_id == dataset_id, Label.store_key.in_(uids))
    with parts.catalog.read() as session:
        pairs = session.execute(images.distinct()).tuples().all()
        return {uid for pair in pairs for uid in pair if uid in uids} | set(session.scalars(labels))
