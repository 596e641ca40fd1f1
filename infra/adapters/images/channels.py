"""Which files of a case, or series of a study, are the channels of one image."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pydicom.dataset import Dataset

from configs.errors import InvalidRequestError
from configs.specs.dataset import Channel, StoreKind

MISSING = "missing"
AMBIGUOUS = "ambiguous"
_SAID_BY = {"folder": "suffix", "dicomweb": "SeriesDescription"}


def check_channels(kind: StoreKind, channels: Sequence[Channel]) -> None:
    """Refuse channels that such a store cannot have, or that could not be told apart.

    Raises:
        InvalidRequestError: Saying what to give instead.
    """
    if not channels:
        return
    field = _SAID_BY.get(kind)
    if field is None:
        raise InvalidRequestError(
            "channels: an object store's manifest lists an image's files itself, under image.path"
        )
    for channel in channels:
        if {name for name in _SAID_BY.values() if getattr(channel, name)} != {field}:
            given = '"_0000"' if field == "suffix" else '"*T1*"'
            raise InvalidRequestError(f'channels: each one here is {{"name": …, "{field}": {given}}}')
    if len({channel.name for channel in channels}) < len(channels):
        raise InvalidRequestError("channels: two have one name")
    for one in channels:
        for other in channels:
            if kind == "folder" and one is not other and one.suffix.endswith(other.suffix):
                raise InvalidRequestError(
                    f"channels: a file that ends in {one.suffix!r} ends in {other.suffix!r}, too: make them longer"
                )


def chosen_series(channels: Sequence[Channel], study: Sequence[Dataset]) -> tuple[list[Dataset], str]:
    """Return a study's series in the order of the channels; or nothing, and why there is no such image.

    Args:
        channels: What a series' description has to match, whatever its case.
        study: The study's series.
    """
    found, faults = [], []
    for channel in channels:
        pattern = channel.SeriesDescription.lower()
        matching = [one for one in study if fnmatchcase(str(one.get("SeriesDescription", "") or "").lower(), pattern)]
        found += matching
        if len(matching) != 1:
            kind = AMBIGUOUS if matching else MISSING
            faults.append(f"{kind}: {len(matching) or 'no'} series match channel {channel.name}")
    if not faults and len({one.SeriesInstanceUID for one in found}) < len(found):
        faults.append(f"{AMBIGUOUS}: one series matches several channels")
    return ([], "; ".join(faults)) if faults else (found, "")
