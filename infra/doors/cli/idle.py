"""When nobody needs an installation any more: what `up --exit-when-idle` waits for."""

import re

from configs.errors import ForbiddenError, InvalidRequestError, TeachbackError, UnauthorizedError
from configs.wire.status import Idle
from infra.doors.cli.client import OURS, Client

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOOKS = 10  # within the time that it has to be idle
_LOOK_S = (0.5, 60.0)


def duration_s(text: str) -> int:
    """Return the seconds that *text* says, such as `90s`, `30m`, `2h` or `1d`.

    Raises:
        InvalidRequestError: If it says none.
    """
    found = _DURATION.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise InvalidRequestError(f"--exit-when-idle was {text!r}; give a number and s, m, h or d, such as 30m.")
    return int(found[1]) * _SECONDS[found[2]]


def look_every_s(after_s: float) -> float:
    """Return how often to look, for an installation that is to end after so many idle seconds."""
    return min(max(after_s / _LOOKS, _LOOK_S[0]), _LOOK_S[1])


def is_idle(client: Client, after_s: float) -> bool:
    """Say whether nobody has called, and nothing computed, for so long; one that does not answer is asked again.

    Raises:
        UnauthorizedError: If the key no longer opens it: asking again would not help.
        ForbiddenError: As before.
    """
    try:
        return client.get_as(Idle, client.request("GET", f"{OURS}/idle")).seconds >= after_s
    except (UnauthorizedError, ForbiddenError):
        raise
    except TeachbackError:
        return False
