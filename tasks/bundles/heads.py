"""Which output layer an experiment's labels need: the bundle's own, or one made anew."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError
from configs.kinds import LabelKind
from configs.names import plain
from infra.adapters.catalog.tables import Bundle

Labels = Mapping[str, str]
"""Names by index, the index as text, as the catalog has them."""

# With one class there is nothing to tell apart, and a softmax over it is always 1.
_FEWEST_CLASSES = 2


class _Check(BaseModel):
    """What registering found out about the bundle's output."""

    model_config = ConfigDict(extra="ignore")

    answers: LabelKind = "mask"
    answer_file: str = ""
    head: str = ""
    head_refusal: str = ""
    takes_prompts: bool = False


def kind_of(bundle: Bundle) -> LabelKind:
    """Return what the bundle says of an image, and learns from."""
    return _Check.model_validate(bundle.check).answers


def answer_file(bundle: Bundle) -> str:
    """Return what the bundle calls a file of its answers; empty if it says nothing."""
    return _Check.model_validate(bundle.check).answer_file


def takes_prompts(bundle: Bundle) -> bool:
    """Say whether the bundle is told what to look for: then no output layer is made anew, whatever the labels."""
    return _Check.model_validate(bundle.check).takes_prompts


def covers(bundle: Bundle, labels: Labels) -> bool:
    """Say whether the bundle has every one of these names: then its output layer serves as it is."""
    own = {plain(str(name)) for name in bundle.labels.values()}
    return {plain(name) for name in labels.values()} <= own


def head_of(bundle: Bundle, labels: Labels) -> str:
    """Return in words which output layer serves these labels."""
    if covers(bundle, labels):
        return "the bundle's own"
    layers = _Check.model_validate(bundle.check).head
    outputs = f"made anew for {', '.join(_in_order(labels))}"
    return f"{outputs}: {layers}; every other weight is kept" if layers else f"{outputs}; every other weight is kept"


def check_head(bundle: Bundle, labels: Labels) -> None:
    """Refuse labels for which the bundle's network cannot be given an output layer.

    Raises:
        InvalidRequestError: If not; it names the network and what the bundle offers.
    """
    if kind_of(bundle) == "class" and len(labels) < _FEWEST_CLASSES:
        raise InvalidRequestError(f"Bundle {bundle.name} tells classes apart: give two labels or more; 0 is one, too")
    if covers(bundle, labels):
        return
    refusal = _Check.model_validate(bundle.check).head_refusal
    if bundle.tier == "C":
        refusal = "it cannot be trained here, so that an output layer for other labels would never learn them"
    if refusal:
        own = ", ".join(str(name) for name in bundle.labels.values())
        raise InvalidRequestError(
            f"Bundle {bundle.name} cannot learn {_others(bundle, labels)}: {refusal}. It has {own}."
        )


def same_head(bundle: Bundle, labels: Labels, others: Labels) -> bool:
    """Say whether weights that were trained for some labels mean the same for others."""
    if covers(bundle, labels) and covers(bundle, others):
        return True
    return [plain(name) for name in _in_order(labels)] == [plain(name) for name in _in_order(others)]


def _in_order(labels: Labels) -> list[str]:
    return [name for _, name in sorted((int(index), name) for index, name in labels.items())]


def _others(bundle: Bundle, labels: Labels) -> str:
    own = {plain(str(name)) for name in bundle.labels.values()}
    return ", ".join(name for name in _in_order(labels) if plain(name) not in own)
