"""The multipart answer of `inference`, byte for byte as this dialect's clients take it apart.

They split a part's header at `;` and `=` for the file's name, so a part has one header, without `filename`.
"""

from uuid import uuid4

from fastapi import Response

from configs.wire.slot import SEQUENCE_HEADER, VERSION_HEADER
from infra.services.learning.inference import Predicted


class MultipartResponse(Response):
    """One part: the label map, named `<image>_seg.nrrd`; of a class the table that the experiment names.

    Args:
        answer: What is sent.
        status_code: The reply's status.
    """

    def __init__(self, answer: Predicted, status_code: int) -> None:
        boundary = uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{answer.name}"\r\n\r\n'.encode()
        super().__init__(
            head + answer.content + f"\r\n--{boundary}--\r\n".encode(),
            status_code,
            {
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                VERSION_HEADER: answer.version,
                SEQUENCE_HEADER: str(answer.seq),
            },
        )
