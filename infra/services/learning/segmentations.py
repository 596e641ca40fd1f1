"""Inference as the MONAI Label dialect has it: about an image of a data set, a session's, or one that is sent.

An answer may be kept as a label that nobody has looked at, or handed out as a DICOM SEG.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from configs.errors import InvalidRequestError
from configs.specs.infer import InferSpec
from infra.adapters.catalog.tables import Upload
from infra.services.callers import Caller, Right, allow
from infra.services.data import labels, uploads
from infra.services.data.uploads import ONCE_S, Sent
from infra.services.learning import inference
from infra.services.learning.inference import Inference, Predicted
from infra.wiring import Parts
from tasks.labels.forms.result import volume_of
from tasks.labels.forms.series import series_headers
from tasks.labels.forms.write import write_seg
from tasks.labels.incoming.save import LabelParams


@dataclass(frozen=True)
class Source:
    """Which image: the one that is sent, else the session's, else the data set's of this id."""

    dataset_id: str
    image: str = ""
    session_id: str = ""
    sent: Sent | None = None


@dataclass(frozen=True)
class Segmentation:
    """An answer and its image. `dataset_id`: None where the image is none of a data set."""

    image: str
    dataset_id: str | None
    predicted: Predicted


def segment(
    parts: Parts, caller: Caller, experiment_id: str, source: Source, spec: InferSpec, client_id: str
) -> Segmentation:
    """Have an experiment's model answer about an image.

    Raises:
        NotFoundError: If there is no such experiment, session or image.
        InvalidRequestError: If no image is named, one that is sent is in no format that is read, or the model does
            not answer such a question.
        BusyError: If no server is ready in time.
    """
    allow(caller, Right.ANNOTATE)
    upload = upload_of(parts, caller, source)
    image, dataset_id = (source.image, source.dataset_id) if upload is None else (upload.name, None)
    sent = uploads.address(upload) if upload is not None else ""
    asked = Inference(image, dataset_id, spec, client_id=client_id, upload=sent)
    return Segmentation(image, dataset_id, inference.infer(parts, caller, experiment_id, asked))


def as_seg(parts: Parts, caller: Caller, made: Segmentation, names: Mapping[int, str]) -> bytes:
    """Return a predicted label map as a DICOM SEG of its image's series.

    Raises:
        InvalidRequestError: If the image is no DICOM series of a data set, or the answer no label map.
    """
    allow(caller, Right.ANNOTATE)
    headers = series_headers(parts, made.dataset_id, made.image) if made.dataset_id is not None else None
    if headers is None or made.predicted.said is not None:
        raise InvalidRequestError(
            "A DICOM SEG is made of a label map of a data set's DICOM series: ask for output=image instead"
        )
    label_id = str(uuid5(NAMESPACE_URL, f"{made.dataset_id}/{made.image}/{made.predicted.version}"))
    with tempfile.TemporaryDirectory(prefix="seg-") as folder:
        target = Path(folder) / "result.dcm"
        write_seg(
            volume_of(made.predicted.content),
            names,
            headers,
            target,
            label_id=label_id,
            author=caller.name,
            origin="AUTOMATIC",
            model=made.predicted.version,
        )
        return target.read_bytes()


def keep(
    parts: Parts, caller: Caller, made: Segmentation, tag: str, sent: Mapping[str, Any], *, client_id: str = ""
) -> None:
    """Keep a predicted label map as a label of its image, as a model's own output under whatever tag: it never counts.

    Raises:
        InvalidRequestError: If the image is none of a data set, or the answer no label map.
    """
    if made.dataset_id is None:
        raise InvalidRequestError(
            "save_label keeps labels of a data set's images, and this image is none: leave it out"
        )
    if made.predicted.said is not None:
        raise InvalidRequestError("save_label keeps label maps, and this model answers none: leave it out")
    params = LabelParams(tag=tag, base_version=made.predicted.version, unedited=True, predicted=True, sent=dict(sent))
    content = BytesIO(made.predicted.content)
    labels.save(parts, caller, made.dataset_id, made.image, content, params, client_id=client_id)


def upload_of(parts: Parts, caller: Caller, source: Source) -> Upload | None:
    """Return the upload that is meant; None = an image of the data set.

    Raises:
        NotFoundError: If there is no such session.
        InvalidRequestError: If no image is named, or one that is sent is in no format that is read.
    """
    if source.sent is not None:
        return uploads.create(parts, caller, [source.sent], ONCE_S)
    if source.session_id:
        return uploads.find(parts, caller, source.session_id, use=True)
    if not source.image:
        raise InvalidRequestError("Neither Image nor File not Session ID input is provided")
    return None
