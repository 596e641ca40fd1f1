"""Segmenting by scribbles, beside the models of a data set: it needs none, and learns nothing."""

import time
from collections.abc import Mapping
from typing import BinaryIO

from configs.wire.scribbles import ScribbleMethod
from infra.services.callers import Caller, Right, allow
from infra.services.data import images, uploads
from infra.services.learning.inference import Predicted
from infra.services.learning.segmentations import Segmentation, Source, upload_of
from infra.wiring import Parts
from tasks.images.prepare import LocalImage, local_image
from tasks.images.stores import image_of, store_of
from tasks.images.uploads import UploadedImage
from tasks.labels.forms.write import to_nrrd
from tasks.serving import scribbled
from tasks.serving.scribbled import Strokes

METHODS: Mapping[str, ScribbleMethod] = {"Histogram+GraphCut": "histogram", "GMM+GraphCut": "gmm"}
"""By the names under which clients of the MONAI Label dialect know them."""
DESCRIPTIONS: Mapping[ScribbleMethod, str] = {
    "histogram": "Scribbles: likelihood by histograms of what is drawn on, then a graph cut",
    "gmm": "Scribbles: likelihood by mixtures of Gaussians fitted to what is drawn on, then a graph cut",
}


def segment(
    parts: Parts, caller: Caller, source: Source, label: BinaryIO, strokes: Strokes, client_id: str
) -> Segmentation:
    """Return what strokes on an image mean, as a model's answer would be.

    Raises:
        NotFoundError: If there is no such image or session.
        InvalidRequestError: If no image is named, or it or the strokes cannot be used.
        StoreError: If the image's store fails.
    """
    allow(caller, Right.ANNOTATE)
    began = time.perf_counter()
    local, name, dataset_id = _image(parts, caller, source, client_id)
    volume = scribbled.segment(parts, local, label, strokes)
    seconds = time.perf_counter() - began
    answer = Predicted(f"{images.basename(name)}_seg.nrrd", to_nrrd(volume), "", 0, cached=False, seconds=seconds)
    return Segmentation(name, dataset_id, answer)


def _image(parts: Parts, caller: Caller, source: Source, client_id: str) -> tuple[LocalImage, str, str | None]:
    upload = upload_of(parts, caller, source)
    if upload is not None:
        sent = UploadedImage(uploads.address(upload), parts.blobs)
        local = local_image(sent, parts.cache, "image", sent.identity, most_bytes=parts.settings.volume_bytes)
        return local, upload.name, None
    image = images.get(parts, caller, source.dataset_id, source.image)
    images.touch(parts, caller, source.dataset_id, image.id, client_id)
    return image_of(parts, store_of(parts, source.dataset_id), image), source.image, source.dataset_id
