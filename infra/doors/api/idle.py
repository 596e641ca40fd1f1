"""How long nobody has worked with this server: what `up --exit-when-idle` asks.

A program that looks again and again, a page that is left open, and strangers at a public port keep nothing up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infra.doors.api.roles import ANYBODY, ROLES

# Asked over and over by clients that only wait, and by pages in a browser: no sign of a person.
_POLLS = (
    "browser.",
    "monitoring.",
    "monai_cloud.jobs.get_job",
    "monai_cloud.jobs.list_jobs",
    "monai_label.batch.get_batch",
    "monai_label.scoring.get_scoring",
    "monai_label.server.",
    "monai_label.train.get_training",
    "native.status.",
)


class Calls:
    """When somebody last called, and whether a call is still being answered.

    Args:
        clock: Seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._open = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Somebody calls while this block runs: an image may take an hour to come or go."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self.note()

    def note(self) -> None:
        """Somebody calls, or something works, now."""
        self._last = self._clock()

    def idle_s(self) -> float:
        """Return the seconds since."""
        return 0.0 if self._open else self._clock() - self._last


def is_call(endpoint: str, status: int) -> bool:
    """Say whether a request was somebody's: let in by a key, answered, and none of those that only wait."""
    known = ROLES.get(endpoint, ANYBODY) is not ANYBODY
    return known and status < 400 and not endpoint.startswith(_POLLS)  # noqa: PLR2004 - from here on it is refused
