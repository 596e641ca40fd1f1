"""A region of a picture, segmented tile by tile, as outlines in the whole picture's pixels."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from configs.errors import InvalidRequestError
from infra.adapters.images.base import PICTURES
from infra.services.callers import Caller, Right, allow
from infra.services.data import images, uploads
from infra.services.data.uploads import ONCE_S, Sent
from infra.services.learning import inference
from infra.services.learning.inference import Inference, Predicted
from infra.services.learning.segmentations import Source, upload_of
from infra.wiring import Parts
from tasks.images.picture import Cut, Region, cut_picture
from tasks.images.stores import store_of
from tasks.labels.forms.outlines import Outline, outlines
from tasks.labels.forms.result import volume_of

MOST_PIXELS = 2**24
MOST_TILES = 64


@dataclass(frozen=True)
class Wanted:
    """What of a picture is to be outlined: by tiles of so many pixels, without regions that have fewer."""

    region: Region
    tile_size: tuple[int, int]
    least_pixels: int
    client_id: str = ""


@dataclass(frozen=True)
class Outlined:
    """Outlines in the whole picture's pixels; `seconds` of inference, of all tiles together."""

    outlines: Sequence[Outline]
    seconds: float


def outlined(parts: Parts, caller: Caller, experiment_id: str, source: Source, wanted: Wanted) -> Outlined:
    """Have an experiment's model segment a region of a picture, and return its answer's outlines.

    Raises:
        NotFoundError: If there is no such experiment, session or image.
        InvalidRequestError: If the image is no picture, has no such region, it is too large, or the model answers no
            label map of it.
        BusyError: If no server is ready in time.
    """
    allow(caller, Right.ANNOTATE)
    cut = _cut(parts, caller, source, wanted)
    label = np.zeros(cut.picture.size, np.uint8)
    seconds = 0.0
    for left, top, right, bottom in _tiles(cut.picture, wanted.tile_size):
        tile = cut.picture.crop((left, top, right, bottom))
        answer = _answered(parts, caller, experiment_id, tile, wanted.client_id)
        label[left:right, top:bottom] = _label_map(answer, tile.size)
        seconds += answer.seconds
    found = outlines(label, wanted.least_pixels)
    return Outlined([each._replace(points=(each.points + cut.corner) * cut.scale) for each in found], seconds)


def _cut(parts: Parts, caller: Caller, source: Source, wanted: Wanted) -> Cut:
    upload = upload_of(parts, caller, source)
    if upload is not None:
        _refuse([upload.name])
        return cut_picture(parts.blobs.path(upload.blob), wanted.region)
    image = images.get(parts, caller, source.dataset_id, source.image)
    images.touch(parts, caller, source.dataset_id, image.id, wanted.client_id)
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        # Not from the cache, which keeps a picture as one level.
        files = store_of(parts, source.dataset_id).fetch(source.image, Path(folder)).paths
        _refuse([file.name for file in files])
        return cut_picture(files[0], wanted.region)


def _refuse(names: Sequence[str]) -> None:
    if len(names) != 1 or not names[0].lower().endswith(PICTURES):
        raise InvalidRequestError(
            f"A region is of a picture ({', '.join(PICTURES)}), which this image is not: ask /infer"
        )


def _tiles(picture: Image, size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield tiles, (left, top, right, bottom); the last ones lie over others, as networks want no narrow ones."""
    (width, height), (across, down) = picture.size, (min(pair) for pair in zip(size, picture.size, strict=True))
    count = -(-width // across) * -(-height // down)
    if width * height > MOST_PIXELS or count > MOST_TILES:
        raise InvalidRequestError(
            f"The region is {width} x {height} pixels in {count} tiles, and at most {MOST_PIXELS} in {MOST_TILES} are"
            " segmented: ask for a smaller one, larger tiles, or another level"
        )
    for top in range(0, height, down):
        for left in range(0, width, across):
            right, bottom = min(left + across, width), min(top + down, height)
            yield right - across, bottom - down, right, bottom


def _answered(parts: Parts, caller: Caller, experiment_id: str, tile: Image, client_id: str) -> Predicted:
    content = BytesIO()
    tile.save(content, "PNG", compress_level=1)
    content.seek(0)
    upload = uploads.create(parts, caller, [Sent("region.png", content)], ONCE_S)
    try:
        asked = Inference(upload.name, client_id=client_id, upload=uploads.address(upload))
        return inference.infer(parts, caller, experiment_id, asked)
    finally:
        uploads.remove(parts, caller, upload.id)  # tiles are not to take the places of sessions


def _label_map(answer: Predicted, size: tuple[int, int]) -> NDArray[Any]:
    if answer.said is not None:
        raise InvalidRequestError("Outlines are of label maps, and this model answers none: ask /infer")
    found = volume_of(answer.content).array
    if found.shape != (*size, 1):
        shape = " x ".join(map(str, found.shape))
        raise InvalidRequestError(
            f"The model answered {shape} voxels to {size[0]} x {size[1]} pixels: take one that segments pictures"
        )
    return found[:, :, 0]
