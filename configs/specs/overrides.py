"""Which overrides of a bundle's configuration may come from a request: plain values, of ids that the bundle has."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

# MONAI's ConfigParser calls what `_target_` names, and bundles run what stands under the others.
_UNSAFE_KEYS = frozenset({"_target_", "_requires_", "_mode_", "imports", "initialize", "run", "finalize"})
# As many as are read at a glance in a refusal.
_NEAR = 3


def fault_of(overrides: Mapping[str, Any], known: Collection[str] = ()) -> str:
    """Return what is wrong with overrides, as a sentence that names the first one that is refused; empty = nothing.

    Args:
        overrides: Values by `#` (or `::`) path.
        known: The ids that the bundle has; `a#*` = whatever lies right below `a`. Empty = any.
    """
    for name, value in overrides.items():
        path = re.sub(r"::", "#", name)
        if {*path.split("#"), *_keys(value)} & _UNSAFE_KEYS or any(map(_executed, _texts(value))):
            return f"The override {name!r} is no plain value; expressions and targets are refused"
        if known and path not in known and f"{path.rpartition('#')[0]}#*" not in known:
            near = ", ".join(_near(path, known))
            hint = f"; near ones are {near}" if near else ""
            return f"The bundle's training configuration has no {name!r}{hint}"
    return ""


def _near(path: str, known: Collection[str]) -> list[str]:
    """Return the ids that were perhaps meant: the same last word elsewhere, then those of like spelling."""
    last = path.rpartition("#")[2]
    same = sorted((each for each in known if each.rpartition("#")[2] == last), key=len)[:_NEAR]
    return [*dict.fromkeys([*same, *get_close_matches(path, known, n=_NEAR)])][:_NEAR]


def _executed(text: str) -> bool:
    # MONAI evaluates `$…` as Python, and takes in another file for `%…`.
    return text.lstrip().startswith(("$", "%"))


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
