"""What inference answers in this dialect: what is said of the label map, the label map, or both, byte by byte."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fastapi import Response
from pydantic import BaseModel, Field

from configs.wire.answers import BoxesAnswer, ClassAnswer
from configs.wire.slot import SEQUENCE_HEADER, VERSION_HEADER
from infra.services.learning.inference import Predicted

BINARY = "application/octet-stream"


class Latencies(BaseModel):
    """Seconds: until the slot had answered, its own steps among them; to write the file; and both."""

    infer: float
    write: float
    total: float
    transform: dict[str, float] = Field(default_factory=dict)


class Class(BaseModel):
    """How likely one class is."""

    idx: int
    label: str
    score: float


class ResultParams(BaseModel):
    """What is said of a result. Of an image's class or of boxes this is all there is."""

    label_names: dict[str, int]
    latencies: Latencies
    centroids: dict[str, Any] = Field(default_factory=dict)
    prediction: list[Class] | None = None
    boxes: list[tuple[float, ...]] | None = None
    classes: list[int] | None = None
    scores: list[float] | None = None

    @classmethod
    def of(cls, answer: Predicted, labels: Mapping[str, int], write_s: float) -> "ResultParams":
        """Say it of one answer."""
        latencies = Latencies(infer=answer.seconds, write=write_s, total=answer.seconds + write_s)
        made = cls(label_names=dict(labels), latencies=latencies)
        if isinstance(answer.said, ClassAnswer):
            names = {index: name for name, index in labels.items()}
            likely = sorted(answer.said.probabilities.items(), key=lambda each: -each[1])
            made.prediction = [Class(idx=idx, label=names.get(idx, str(idx)), score=score) for idx, score in likely]
        if isinstance(answer.said, BoxesAnswer):
            made.boxes, made.classes, made.scores = list(answer.said.boxes), answer.said.classes, answer.said.scores
        return made

    def text(self) -> bytes:
        """Return it as clients read it."""
        return self.model_dump_json(exclude_none=True).encode()


def headers_of(answer: Predicted) -> dict[str, str]:
    """Say which version answered, and that it was inference."""
    return {VERSION_HEADER: answer.version, SEQUENCE_HEADER: str(answer.seq)}


def disposition(name: str) -> str:
    """Return the header under whose name a client keeps the file: an image's id may have any letters."""
    quoted = quote(name)
    return f'attachment; filename="{name}"' if quoted == name else f"attachment; filename*=utf-8''{quoted}"


def both(params: bytes, name: str, content: bytes, headers: Mapping[str, str]) -> Response:
    """Return what is said and the file, in the order and with the headers that clients take apart."""
    boundary = uuid4().hex
    opening = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n'
    ).encode()
    between = (
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        f"Content-Type: {BINARY}\r\n\r\n"
    ).encode()
    body = b"".join((opening, params, between, content, f"\r\n--{boundary}--\r\n".encode()))
    return Response(body, headers=dict(headers), media_type=f"multipart/form-data; boundary={boundary}")
