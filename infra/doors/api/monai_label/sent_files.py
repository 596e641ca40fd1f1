"""The files of a form, as many as a series has: all behind each other in one file on disk.

Starlette takes a thousand, and has a file open, or a part of the memory, for each.
"""

import io
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from tempfile import TemporaryFile
from typing import IO, Any

from fastapi import Request, UploadFile
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from infra.services.data.uploads import MOST_FILES, Sent


def body_of(field: str) -> dict[str, Any]:
    """Return how a route that takes files under this name describes its body."""
    files = {field: {"type": "array", "items": {"type": "string", "format": "binary"}}}
    form = {"type": "object", "required": [field], "properties": files}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


class _Piece(io.RawIOBase):
    """One file among those behind each other; it is written while it is the last, and read at any time."""

    def __init__(self, whole: IO[bytes]) -> None:
        self._whole = whole
        self._begin = self._size = self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def write(self, data: Any) -> int:
        """Add to it; the whole is not buffered, so it is there at once."""
        if not self._size:  # not before: the files ahead of it may be waiting to be written
            self._begin = self._whole.tell()
        self._whole.write(data)
        self._size += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, from its beginning only."""
        self._at = offset if whence == os.SEEK_SET else self._at
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        wanted = max(min(len(buffer), self._size - self._at), 0)
        data = os.pread(self._whole.fileno(), wanted, self._begin + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Parser(MultiPartParser):
    """Has each file's content follow the one before it in *whole*."""

    def __init__(self, request: Request, stream: Any, whole: IO[bytes]) -> None:
        super().__init__(request.headers, stream, max_files=MOST_FILES)
        self._whole = whole

    def on_headers_finished(self) -> None:
        """Take the place of a file of its own."""
        super().on_headers_finished()
        file = self._current_part.file
        if file is not None:
            piece: Any = _Piece(self._whole)
            self._current_part.file = UploadFile(file=piece, size=0, filename=file.filename, headers=file.headers)


class SentFiles:
    """A dependency: a form's files of one name.

    Args:
        field: The name.
    """

    def __init__(self, field: str) -> None:
        self._field = field

    async def __call__(self, request: Request) -> AsyncIterator[list[Sent]]:
        """Read them as they come, behind whoever asks for a key; they are there as long as the request.

        Raises:
            RequestValidationError: If the form has no files.
            HTTPException: If it is no form that can be read, or has too many.
        """
        with TemporaryFile(buffering=0) as whole:
            yield await _parsed(request, whole, self._field)


async def _parsed(request: Request, whole: IO[bytes], field: str) -> list[Sent]:
    found: list[Any] = []
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        try:
            async with aclosing(request.stream()) as stream:
                found = (await _Parser(request, stream, whole).parse()).getlist(field)
        except MultiPartException as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, error.message) from None
    files = [Sent(one.filename or "", one.file) for one in found if not isinstance(one, str)]
    if not files:
        raise RequestValidationError([{"type": "missing", "loc": ("body", field), "msg": "Field required"}])
    return files
