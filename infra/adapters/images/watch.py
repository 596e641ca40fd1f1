"""Whether a store is another than it was, told by something small that it says of itself."""

from collections.abc import Callable


class MarkWatch:
    """Remembers a store's mark.

    Args:
        mark: Asks for it; it changes when the store does.
    """

    def __init__(self, mark: Callable[[], str]) -> None:
        self._mark, self._last = mark, ""

    def changed(self) -> bool:
        """Say whether the mark is another than the last time."""
        before, self._last = self._last, self._mark()
        return before != self._last
