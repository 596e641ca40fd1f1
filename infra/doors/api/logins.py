"""Logging in with a key. Failed logins are counted per address: guessing is slowed down."""

import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock

from fastapi import HTTPException, Request

from configs.errors import UnauthorizedError
from infra.services import people
from infra.wiring import Parts

WINDOW_S = 60.0
ALLOWED = 5
# An attacker with many addresses must not fill the memory; the oldest are forgotten first.
_REMEMBERED = 10_000


class FailedLogins:
    """Counts of the last minute, of this process.

    Args:
        clock: Seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, address: str) -> int:
        """Return how many seconds this address has to wait before it may try again; 0 = it may now."""
        with self._lock:
            recent = self._recent(address)
            return 0 if len(recent) < ALLOWED else int(recent[-ALLOWED] + WINDOW_S - self._clock()) + 1

    def note(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            self._failed[address] = [*self._recent(address), self._clock()][-ALLOWED:]
            self._failed.move_to_end(address)
            # Whoever has many addresses must not fill memory.
            while len(self._failed) > _REMEMBERED:
                self._failed.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - WINDOW_S
        return [moment for moment in self._failed.get(address, ()) if moment > since]


def failed_logins(request: Request) -> FailedLogins:
    """Return this application's count of failed logins."""
    counted: FailedLogins = request.app.state.failed_logins
    return counted


def exchange(parts: Parts, failed: FailedLogins, request: Request, key: str) -> people.Login:
    """Exchange a key for a token.

    Raises:
        UnauthorizedError: If it is no valid key.
        HTTPException: 429, if too many logins of this address have failed.
    """
    address = request.client.host if request.client else ""
    if wait_s := failed.wait_s(address):
        said = f"Too many failed logins from this address: wait {wait_s} s"
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, said, {"Retry-After": str(wait_s)})
    try:
        return people.login(parts, key)
    except UnauthorizedError:
        failed.note(address)
        raise
