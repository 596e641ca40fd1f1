"""Whether series came to a DICOMweb server, or went: DICOMweb tells of no changes, so the last one is asked for.

Of a thousand series that are known the thousandth is asked for, and one more: as long as it alone is answered, as many
are there. A server that gives everything whatever is asked is compared as a whole.
"""

from collections.abc import Callable, Mapping, Sequence

from configs.errors import AccessError, StoreError
from infra.adapters.images.seg import hash_lines

Search = Callable[[dict[str, str], int, int], list[str]]
# Beyond every series: who answers behind this offset ignores offsets; as a limit it means all.
_FAR = 2**30


class SeriesWatch:
    """Remembers how many series match each of several filters, and the last one of them.

    Args:
        search: Returns the UIDs of series that match a filter, from an offset on, at most so many.
        filters: QIDO's.
    """

    def __init__(self, search: Search, filters: Sequence[Mapping[str, str]]) -> None:
        self._search = search
        self._filters = [dict(each) for each in filters]
        self._last: list[tuple[int, list[str]]] = []

    def changed(self) -> bool:
        """Say whether there are more series, fewer, or another last one than the last time; True the first time.

        Raises:
            StoreError: If the server cannot be asked.
        """
        seen = zip(self._filters, self._last, strict=True) if self._last else ()
        if self._last and all(self._tail(each, count) == tail for each, (count, tail) in seen):
            return False
        counts = [self._count(each) for each in self._filters]
        self._last = [(count, self._tail(each, count)) for each, count in zip(self._filters, counts, strict=True)]
        return True

    def _tail(self, filters: dict[str, str], count: int) -> list[str]:
        if count < 0:
            return [hash_lines(self._search(filters, 0, _FAR))]
        return self._search(filters, max(count - 1, 0), 2)

    def _count(self, filters: dict[str, str]) -> int:
        """Return how many match, by halving; -1 where the server takes no offset."""
        if not self._takes_offset(filters):
            return -1
        low, high = 0, 1  # `low` series are there; `high` of them are not
        while self._search(filters, high - 1, 1):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._search(filters, middle - 1, 1) else (low, middle)
        return low

    def _takes_offset(self, filters: dict[str, str]) -> bool:
        """Say whether nothing is answered far behind the last one; a server that refuses that question takes none."""
        try:
            return not self._search(filters, _FAR, 1)
        except AccessError:
            raise
        except StoreError:
            self._search(filters, 0, 1)  # raises if it is not the offset that fails
            return False
