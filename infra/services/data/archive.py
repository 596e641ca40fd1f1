"""A data set's labelled cases as a zip that is written while it is sent."""

import json
import zipfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

from pydantic import BaseModel

from configs.errors import InvalidRequestError, TeachbackError
from infra.adapters.catalog.contents import Content
from infra.adapters.catalog.tables import Label
from infra.adapters.images.base import ImageStore
from infra.services.callers import Caller
from infra.services.data import contents, labels
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.labels.forms.read import ending_in

_PIECE = 2**20
_Labelled = tuple[Content, Label]


class Case(BaseModel):
    """One labelled case, by the names of its files in the zip."""

    image: str
    label: str
    id: str


def labelled_cases(parts: Parts, caller: Caller, dataset_id: str, limit: int | None) -> Iterator[bytes]:
    """Yield a zip of `image/…`, `label/…` and `metadata.json`: the cases that have a final label.

    A case whose store cannot give it now is left out, and named in the metadata.

    Raises:
        NotFoundError: If there is no such data set.
        InvalidRequestError: If nothing is labelled; before the first byte.
    """
    found = contents.labelled(parts, caller, dataset_id)
    first = next(found, None)
    if first is None:
        raise InvalidRequestError("No case of this data set has a final label yet: label one first")
    return _packed(parts, store_of(parts, dataset_id), _some(first, found, limit))


def _some(first: _Labelled, others: Iterator[_Labelled], limit: int | None) -> Iterator[_Labelled]:
    yield first
    for number, labelled in enumerate(others, start=2):
        if limit is not None and number > limit:
            return
        yield labelled


def _packed(parts: Parts, store: ImageStore, found: Iterator[_Labelled]) -> Iterator[bytes]:
    sink = _Sink()
    cases, left_out = list[Case](), list[str]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for number, (content, row) in enumerate(found):
            try:
                image = image_of(parts, store, content.image).path
                label = labels.file_of(parts, row)
            except TeachbackError:
                left_out.append(content.image.key)
                continue
            # Numbered: ids of images hold slashes, and two may end alike.
            ending = ending_in(label.path) or ""
            stem = f"{number:06d}_{content.image.key.rpartition('/')[2]}"
            case = Case(image=f"image/{stem}{image.suffix}", label=f"label/{stem}{ending}", id=content.image.key)
            for source, name in ((image, case.image), (label.path, case.label)):
                yield from _added(packed, sink, source, name)
            cases.append(case)
        told = {"cases": [case.model_dump() for case in cases], "left_out": left_out}
        packed.writestr("metadata.json", json.dumps(told, indent=2))
    yield sink.taken()


def _added(packed: zipfile.ZipFile, sink: "_Sink", source: Path, name: str) -> Iterator[bytes]:
    with source.open("rb") as file, packed.open(name, "w", force_zip64=True) as entry:
        while piece := file.read(_PIECE):
            entry.write(piece)
            yield sink.taken()


class _Sink(RawIOBase):
    """What a zip is written to, and taken from piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]  # narrower than any buffer: that is what comes
        """Hold a piece."""
        self._held += piece
        return len(piece)

    def taken(self) -> bytes:
        """Return what was written since this was last called."""
        held, self._held = bytes(self._held), bytearray()
        return held
