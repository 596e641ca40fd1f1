"""Segmenting by scribbles: the strokes that a client sends, onto the image, to a bundle host, and back.

A host is forked for each request, as nothing need be kept between two: the image is in this host's cache.
"""

import math
from pathlib import Path
from shutil import copyfileobj
from threading import Semaphore
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import HostDiedError, InvalidRequestError
from configs.wire.scribbles import BACKGROUND, FOREGROUND, Range, Scribbled, ScribbleMethod, ScribbleRequest
from infra.wiring import Parts
from tasks.devices.asking import answers, place, work_folder
from tasks.devices.claims import Need
from tasks.images.geometry import Geometry
from tasks.images.prepare import LocalImage
from tasks.images.volume import Volume
from tasks.labels.forms.raw import of_raw
from tasks.labels.forms.read import HEAD_BYTES, ending_of, read_label

# A large volume takes gigabytes, and a second or two.
_PLACES, _WAIT_S = Semaphore(2), 30.0


class Strokes(NamedTuple):
    """What was drawn: values of the label map that a client sends, and the region outside of which nothing is.

    `background` and `foreground` differ, and are not 0. `result`: the value of what is found, 1 to 255. `region`: first
    index and the one behind the last, along i, j and k; equal ends are one voxel.
    """

    method: ScribbleMethod
    background: int
    foreground: int
    result: int = 1
    region: tuple[Range, Range, Range] | None = None


def segment(parts: Parts, image: LocalImage, label: BinaryIO, strokes: Strokes) -> Volume:
    """Return the label map that strokes on an image mean.

    Args:
        parts: The adapters.
        image: Of three axes.
        label: The label map with the strokes, in any form that labels have, or its voxels alone.
        strokes: What is what in it.

    Raises:
        InvalidRequestError: If the image is a picture, the label cannot be read, or one side has no stroke.
        MismatchError: If the label lies on another grid.
        HostError: If the host fails.
        BusyError: If others have theirs segmented, and no end comes.
    """
    if image.is_picture or image.others:
        raise InvalidRequestError("Scribbles are for volumes of one channel: segment this image by a model or by hand")
    geometry = image.geometry()
    with place(_PLACES, _WAIT_S), work_folder(parts, "scribbles") as work:
        drawn = _drawn(label, geometry, work)
        sides = np.zeros(geometry.shape, np.uint8)
        sides[drawn == strokes.background], sides[drawn == strokes.foreground] = BACKGROUND, FOREGROUND
        np.save(work / "scribbles.npy", sides)
        (work / "bundle").mkdir()  # none is needed; a host is shown one, and may be shown nothing
        out = work / "host" / "out"
        request = ScribbleRequest(
            method=strokes.method,
            image=str(image.path),
            scribbles=str(work / "scribbles.npy"),
            region=within(strokes.region, geometry.shape),
            out=str(out),
        )
        for message in answers(parts, request, Need("batch"), work=work, bundle=work / "bundle"):
            if isinstance(message, Scribbled):
                inside = np.load(message.path, allow_pickle=False)
                if inside.shape == geometry.shape and inside.dtype == np.bool_:
                    return Volume(inside * np.uint8(strokes.result), geometry.affine)
    raise HostDiedError("Segmenting by scribbles ended without a result: ask again")


def _drawn(label: BinaryIO, geometry: Geometry, work: Path) -> NDArray[Any]:
    ending = ending_of(label.read(HEAD_BYTES))
    label.seek(0)
    if ending == ".json":
        raise InvalidRequestError("Scribbles are strokes in a label map, and this is JSON: send a label map")
    file = work / f"label{ending or '.nrrd'}"
    with file.open("wb") as target:
        if ending is None:
            target.write(of_raw(label.read(math.prod(geometry.shape) + 1), geometry))
        else:
            copyfileobj(label, target)
    return read_label(file, geometry).array


def within(region: tuple[Range, Range, Range] | None, shape: tuple[int, int, int]) -> tuple[Range, Range, Range] | None:
    """Return the region within the image, its ends in order: along a flipped axis a client says the last one first.

    Both ends are rounded by the client, so that those of a region in one slice are equal.

    Raises:
        InvalidRequestError: If it lies outside.
    """
    if region is None:
        return None
    ordered = [(min(each), max(*each, min(each) + 1)) for each in region]
    ends = [(max(first, 0), min(last, size)) for (first, last), size in zip(ordered, shape, strict=True)]
    if any(first >= last for first, last in ends):
        raise InvalidRequestError(f"The region {region} lies outside of the image, which has {shape} voxels")
    return ends[0], ends[1], ends[2]
