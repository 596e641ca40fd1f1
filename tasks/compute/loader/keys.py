"""The ids of a configuration that an override may name."""

import inspect
from collections.abc import Iterator
from pydoc import locate
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser

# They only serve to say which one was meant.
_MOST = 5000


def keys_of(written: Any) -> list[str]:
    """Return all ids of a configuration as it is written, and the arguments that its components take besides.

    `a#*`: the component at `a` takes any argument. Nothing is instantiated; components are looked up.
    """
    parser = ConfigParser()
    return sorted(dict.fromkeys(_ids(written, "", parser)))[:_MOST]


def _ids(value: Any, at: str, parser: ConfigParser) -> Iterator[str]:
    if isinstance(value, dict):
        inner = {str(key): part for key, part in value.items()}
        if isinstance(value.get("_target_"), str):
            yield from (f"{at}#{name}" for name in _arguments(value, parser))
    elif isinstance(value, list):
        inner = {str(number): part for number, part in enumerate(value)}
    else:
        return
    for key, part in inner.items():
        if key.startswith("_") and key != "_disabled_":
            continue
        below = f"{at}#{key}" if at else key
        yield below
        yield from _ids(part, below, parser)


def _arguments(value: dict[str, Any], parser: ConfigParser) -> Iterator[str]:
    """Yield the names of the arguments of a component; none where it cannot be found."""
    try:
        name = ConfigComponent(config=value, locator=parser.locator).resolve_module_name()
        found = locate(name) if isinstance(name, str) else name
        taken = inspect.signature(found).parameters.values() if callable(found) else ()
    except Exception:  # noqa: BLE001 - importing what a bundle names may fail in any way; its own ids are known still
        return
    for argument in taken:
        if argument.kind is inspect.Parameter.VAR_KEYWORD:
            yield "*"
        elif argument.kind is not inspect.Parameter.VAR_POSITIONAL:
            yield argument.name
