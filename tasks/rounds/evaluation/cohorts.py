"""Which cohort an image belongs to: results are given for each, so that one that gets worse is seen."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from infra.adapters.catalog.tables import Dataset, Image

UNKNOWN = "unknown"
_SAYS_NOTHING = frozenset({"", "UNK", "UNKNOWN"})


class _Shown(BaseModel):
    """What a data set's maker said of it."""

    model_config = ConfigDict(extra="ignore")

    tags: list[str] = []


class _Meta(BaseModel):
    """What an image's store says of how it was made, or its manifest of where it belongs; none identifies anybody."""

    model_config = ConfigDict(extra="ignore")

    cohort: str = ""
    Modality: str = ""
    Manufacturer: str = ""


def cohort_of(dataset: Dataset) -> Callable[[Image], str]:
    """Return how the data set's images are sorted: by its first tag, else by cohort, or modality and manufacturer."""
    tags = _Shown.model_validate(dataset.shown).tags
    if tags:
        return lambda _image: tags[0]
    return _as_made


def _as_made(image: Image) -> str:
    meta = _Meta.model_validate(image.meta)
    if meta.cohort:
        return meta.cohort
    said = [word.strip() for word in (meta.Modality, meta.Manufacturer) if word.strip().upper() not in _SAYS_NOTHING]
    return " ".join(said) or UNKNOWN
