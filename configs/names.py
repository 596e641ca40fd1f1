"""Names of labels, as people write them."""

import re

_BETWEEN_WORDS = re.compile(r"[\s_\-]+")


def plain(name: str) -> str:
    """Return the name as it is compared: without case; blanks, underscores and hyphens are one blank."""
    return _BETWEEN_WORDS.sub(" ", name).strip().casefold()
