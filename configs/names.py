"""Names of labels, as people write them, and the name that a data set has by default."""

import re

DEFAULT_DATASET = "studies"
"""Made by `up --studies`; the MONAI Label dialect means it where no data set is named."""
_BETWEEN_WORDS = re.compile(r"[\s_\-]+")


def plain(name: str) -> str:
    """Return the name as it is compared: without case; blanks, underscores and hyphens are one blank."""
    return _BETWEEN_WORDS.sub(" ", name).strip().casefold()
