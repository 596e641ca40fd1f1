"""How far the people who labelled the same images agree."""

import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from configs.states import LabelState
from infra.adapters.catalog import datasets
from infra.adapters.catalog.tables import Image, Label
from infra.services.callers import Caller, Right, allow
from infra.services.data.labels import file_of
from infra.wiring import Parts
from tasks.images.geometry import Geometry
from tasks.images.stores import image_of, store_of
from tasks.labels.choosing.agreement import Agreement, agreement
from tasks.labels.choosing.choose import SOURCE_LAYER
from tasks.labels.forms.label_map import LabelMap
from tasks.labels.forms.read import read_label
from tasks.labels.incoming.save import linked


class Pair(BaseModel):
    """Two people's masks of one image; `names`: what at least one of them marks."""

    model_config = ConfigDict(frozen=True)

    image: str
    labels: tuple[str, str]
    authors: tuple[str, str]
    names: dict[str, Agreement]


def between(parts: Parts, caller: Caller, name: str, image: str = "", limit: int = 20) -> list[Pair]:
    """Compare the masks of every two people who labelled an image, image by image.

    Args:
        parts: The adapters.
        caller: Who asks.
        name: The data set's name or id.
        image: Only this one.
        limit: Of images; those that were labelled last come first.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set.
        StoreError: If an image cannot be read.
    """
    allow(caller, Right.REVIEW)
    people_s = (Label.state == LabelState.ACTIVE, Label.kind == "mask", Label.layer != SOURCE_LAYER)
    with parts.catalog.read() as session:
        dataset_id = datasets.find(session, caller.org, name).id
        several = select(Label.image_id).where(Label.dataset_id == dataset_id, *people_s).group_by(Label.image_id)
        several = several.having(func.count(Label.layer.distinct()) > 1).order_by(func.max(Label.seq).desc())
        if image:
            several = several.join(Image, Image.id == Label.image_id).where(Image.key == image)
        found = session.scalars(several.limit(limit)).all()
        rows = session.scalars(select(Label).where(Label.image_id.in_(found), *people_s).order_by(Label.seq)).all()
        images = {row.id: row for row in session.scalars(select(Image).where(Image.id.in_(found)))}
    return [
        pair for one in found for pair in _of_image(parts, images[one], [row for row in rows if row.image_id == one])
    ]


def _of_image(parts: Parts, image: Image, rows: Sequence[Label]) -> list[Pair]:
    grid = image_of(parts, store_of(parts, image.dataset_id), image).geometry()
    newest = {row.layer: row for row in rows}
    masks = {row.id: _mask(parts, row, grid) for row in newest.values()}
    return [
        Pair(
            image=image.key,
            labels=(one.id, other.id),
            authors=(one.author_name or one.author, other.author_name or other.author),
            names=agreement(masks[one.id], masks[other.id], grid, (one.names, other.names)),
        )
        for one, other in combinations(newest.values(), 2)
    ]


def _mask(parts: Parts, row: Label, grid: Geometry) -> LabelMap:
    with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
        return read_label(linked(file_of(parts, row).path, Path(folder)), grid)
