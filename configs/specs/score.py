"""Scoring methods and strategies by name: the project's own, and those of apps and of installed packages.

An app's are called `app:NAME`; which there are is known of its bundle. A package offers a method as an entry point of
the group `teachback.scoring_methods`. Entry points are code, so only their names are read here; bundle hosts load them.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

GROUP = "teachback.scoring_methods"
OF_APP = "app:"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")

_PLAIN = {
    "random": "In a fixed random order",
    "first": "By id",
    "last": "By id, backwards",
}
_OF_IMAGES = {
    "strided": "Spread evenly over the ids, ever more closely",
    "entropy": "Where the published model is least certain",
    "epistemic": "Where its predictions disagree, with dropout or flipped",
    "diversity": "What is least like anything labelled, for when there is no model yet",
    "clasp": "Where it is least certain, label by label in turn, with noise that fades from round to round",
}
_OF_LABELS = {
    "dice": "Dice of the published model's answer against the label",
    "surface": "Mean distance of their surfaces, mm",
    "sum": "Voxels that the label names",
}


@cache
def installed() -> Mapping[str, str]:
    """Return the methods of installed packages by name, in words; a name of our own is ours."""
    found = {}
    for point in entry_points(group=GROUP):
        if _NAME.fullmatch(point.name) and point.name not in {**_PLAIN, **_OF_IMAGES, **_OF_LABELS}:
            found[point.name] = f"Of the package {point.dist.name if point.dist else point.module}"
    return found


def strategies() -> dict[str, str]:
    """Return what each strategy is, in words for whoever chooses one."""
    return {**_PLAIN, **_OF_IMAGES, **installed()}


def methods() -> dict[str, str]:
    """Return what each scoring method says: of an image that waits to be labelled, or of a label that exists."""
    return {**_OF_IMAGES, **_OF_LABELS, **installed()}


def reads_scores(strategy: str) -> bool:
    """Say whether a strategy reads scores: those of the method with its name."""
    return strategy not in _PLAIN


def is_of_labels(method: str) -> bool:
    """Say whether a method scores labels that exist, which puts no image first."""
    return method in _OF_LABELS


def is_of_app(name: str) -> bool:
    """Say whether a strategy or method is an experiment's app's own."""
    return name.startswith(OF_APP)


class _OneOf:
    """Admits these names alone. Packages are looked through when a name is not our own, or a schema is asked for."""

    def __init__(self, what: str, own: Mapping[str, str], every: Callable[[], Mapping[str, str]]) -> None:
        self._what, self._own, self._every = what, own, every

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self._every())}

    def _check(self, name: str) -> str:
        if name not in self._own and name not in self._every():
            raise ValueError(f"There is no {self._what} {name!r}: choose one of {', '.join(self._every())}")
        return name


ScoringMethod = Annotated[str, _OneOf("scoring method", {**_OF_IMAGES, **_OF_LABELS}, methods)]
Strategy = Annotated[str, _OneOf("strategy", {**_PLAIN, **_OF_IMAGES}, strategies)]
OfApp = Annotated[str, StringConstraints(pattern=f"^{OF_APP}[a-z][a-z0-9_]{{0,39}}$")]
AnyMethod = ScoringMethod | OfApp
"""A scoring method, or one of the experiment's app."""
AnyStrategy = Strategy | OfApp
"""A strategy, or one of the experiment's app."""


class ScoringSpec(BaseModel):
    """Scores of a data set's images, or of their labels, that somebody asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: AnyMethod


class ScoringResult(BaseModel):
    """What came of it."""

    model_config = ConfigDict(frozen=True)

    method: str
    scored: int
