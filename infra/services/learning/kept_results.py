"""What becomes of a predicted label map besides its answer: a DICOM SEG of it, or a label that nobody has looked at."""

import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from configs.errors import InvalidRequestError
from infra.services.callers import Caller, Right, allow
from infra.services.data import images, labels
from infra.services.learning.inference import Predicted
from infra.wiring import Parts
from tasks.labels.forms.result import volume_of
from tasks.labels.forms.series import series_headers
from tasks.labels.forms.write import write_seg
from tasks.labels.incoming.save import LabelParams


def as_seg(
    parts: Parts, caller: Caller, dataset_id: str, image: str, answer: Predicted, names: Mapping[int, str]
) -> bytes:
    """Return a predicted label map as a DICOM SEG of its image's series.

    Raises:
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If the image is no DICOM series, or the answer no label map.
    """
    allow(caller, Right.ANNOTATE)
    images.get(parts, caller, dataset_id, image)
    headers = series_headers(parts, dataset_id, image)
    if headers is None or answer.said is not None:
        raise InvalidRequestError("A DICOM SEG is made of a label map of a DICOM series: ask for output=image instead")
    label_id = str(uuid5(NAMESPACE_URL, f"{dataset_id}/{image}/{answer.version}"))
    with tempfile.TemporaryDirectory(prefix="seg-") as folder:
        target = Path(folder) / "result.dcm"
        write_seg(
            volume_of(answer.content),
            names,
            headers,
            target,
            label_id=label_id,
            author=caller.name,
            origin="AUTOMATIC",
            model=answer.version,
        )
        return target.read_bytes()


def keep(
    parts: Parts, caller: Caller, dataset_id: str, image: str, answer: Predicted, tag: str, sent: Mapping[str, Any]
) -> None:
    """Keep a predicted label map as a label of its image, under a tag, as a model's own output.

    Raises:
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If the answer is no label map.
    """
    if answer.said is not None:
        raise InvalidRequestError("save_label keeps label maps, and this model answers none: leave it out")
    params = LabelParams(tag=tag, base_version=answer.version, unedited=True, sent=dict(sent))
    labels.save(parts, caller, dataset_id, image, BytesIO(answer.content), params)
