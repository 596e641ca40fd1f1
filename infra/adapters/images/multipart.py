"""A multipart/related answer, taken apart while it comes: no part is ever whole in memory."""

from collections.abc import Iterable, Iterator

from configs.errors import StoreError

# A part's header is three lines; without a bound a server could fill the memory before the first byte of data.
MOST_HEADER_BYTES = 2**14
_BREAK, _BLANK = b"\r\n", b"\r\n\r\n"


def boundary_of(content_type: str) -> bytes | None:
    """Return what stands between the parts, as a `Content-Type` says it; None if it says nothing of the kind."""
    kind, *said = (part.strip() for part in content_type.split(";"))
    if kind.lower() != "multipart/related":
        return None
    for entry in said:
        name, _, value = entry.partition("=")
        if name.strip().lower() == "boundary" and value.strip().strip('"'):
            return value.strip().strip('"').encode("latin-1", "replace")
    return None


def parts_of(pieces: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """Yield each part's body, which has to be read to its end, in pieces, before the next part is asked for.

    Raises:
        StoreError: If the answer ends within a part, or a part's header has no end.
    """
    stream = _Stream(pieces, b"\r\n--" + boundary)
    for _ in stream.body():
        pass  # what stands before the first part means nothing (RFC 2046, 5.1.1)
    while stream.more():
        yield stream.body()


class _Stream:
    """What has come and was not given on yet."""

    def __init__(self, pieces: Iterable[bytes], delimiter: bytes) -> None:
        self._pieces = iter(pieces)
        self._delimiter = delimiter
        self._held = _BREAK  # the first delimiter may stand at the very beginning

    def body(self) -> Iterator[bytes]:
        """Yield what comes before the next delimiter, and pass that."""
        size = len(self._delimiter)
        while (at := self._held.find(self._delimiter)) < 0:
            # A delimiter may come in two pieces: as much as could be its beginning is held back.
            keep = max(0, len(self._held) - size + 1)
            if keep:
                yield self._held[:keep]
                self._held = self._held[keep:]
            self._take()
        if at:
            yield self._held[:at]
        self._held = self._held[at + size :]

    def more(self) -> bool:
        """Say whether a part follows the delimiter that was passed, and pass its header."""
        while len(self._held) < len(_BREAK):
            self._take()
        # Two more hyphens end the answer; whatever follows means nothing.
        if self._held.startswith(b"--"):
            return False
        while (at := self._held.find(_BLANK)) < 0:
            if len(self._held) > MOST_HEADER_BYTES:
                raise StoreError("The server's multipart answer has a part whose header does not end: see its log")
            self._take()
        self._held = self._held[at + len(_BLANK) :]
        # A body of no bytes is followed by its delimiter at once: the blank line's end is the delimiter's beginning.
        self._held = _BREAK + self._held if self._held.startswith(self._delimiter[len(_BREAK) :]) else self._held
        return True

    def _take(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise StoreError("The server's answer ends within a part: ask again")
        self._held += piece
