"""A label map on its image's grid, as it was saved: in its own values and names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import MismatchError
from configs.kinds import UNLABELLED
from configs.names import plain
from tasks.labels.incoming.names import Names

_BACKGROUND = 0
_WORD = np.dtype(np.uint64)


@dataclass(frozen=True)
class LabelMap:
    """What somebody said of an image.

    Args:
        array: uint8 or uint16, axes (i, j, k) of the image's grid; 0 = nothing said.
        names: What the values mean, if the file says so.
        automatic: Whether the file says that a program made all of it.
        warnings: What had to be decided on the way, for the person who saved it.
    """

    array: NDArray[Any]
    names: Mapping[int, str] = field(default_factory=dict)
    automatic: bool = False
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class MappedLabel:
    """A label map in an experiment's indices.

    Args:
        saved: The values as they were saved, axes (i, j, k).
        values: Indices of the experiment that it marks, ascending.
        to_index: What saved values become; None = themselves, and what is not named here 0.
        annotated: Names of the experiment that this label speaks about, whether or not it marks a voxel of them.
        names: What the values as saved mean, so that another experiment can read them by name.
        warnings: What was left out and why.
    """

    saved: NDArray[Any]
    values: tuple[int, ...]
    to_index: Mapping[int, int] | None
    annotated: tuple[str, ...]
    warnings: tuple[str, ...]
    names: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def array(self) -> NDArray[Any]:
        """uint8 or uint16, axes (i, j, k); values are indices of the experiment's labels, 0 = background."""
        return self.saved if self.to_index is None else _replace(self.saved, self.to_index)


def marked_values(array: NDArray[Any]) -> list[int]:
    """Return a label map's values but 0, ascending.

    Masks are made of runs: of eight bytes at a time only those are looked at that differ from the eight before.
    """
    if array.dtype not in (np.uint8, np.uint16):
        return [int(value) for value in np.unique(array) if value != _BACKGROUND]
    flat = array.ravel(order="K")
    whole = flat.size - flat.size % (_WORD.itemsize // flat.itemsize)
    words = np.ascontiguousarray(flat[:whole]).view(_WORD)
    changes = words[np.concatenate([[True], words[1:] != words[:-1]])] if words.size else words
    seen = np.zeros(2 ** (8 * array.dtype.itemsize), dtype=bool)
    for part in (changes.view(flat.dtype), flat[whole:]):
        seen[part] = True
    return [int(value) for value in np.flatnonzero(seen) if value != _BACKGROUND]


def map_label(
    label: LabelMap,
    here: Names,
    *,
    names: Mapping[int, str] | None = None,
    annotated: Sequence[str] | None = None,
) -> MappedLabel:
    """Bring a label map's values to the experiment's indices, by name; without names the values are the indices.

    Args:
        label: As it was saved.
        here: What its values mean to those who learn from it.
        names: What the values mean by the caller's word; else the file's.
        annotated: Names that the caller says the label speaks about; else those it names; else all.

    Returns:
        The label map in the experiment's indices; in its own values where no experiment is known yet.

    Raises:
        MismatchError: If there are no names and a value is no index of the experiment, or of several.
    """
    labels, marked = here.known, set(marked_values(label.array))
    if not labels:
        return MappedLabel(label.array, tuple(sorted(marked)), None, (), tuple(label.warnings))
    said = names or label.names
    # A mask of 0 and 255 alone is more likely one of a program that writes "true" so: it is as strange as it was.
    present = marked - ({UNLABELLED} - labels.keys() - said.keys()) or marked
    known = {plain(name): index for index, name in labels.items() if index != _BACKGROUND}
    warnings = list(label.warnings)
    if said:
        to_index = {value: known[plain(name)] for value, name in said.items() if plain(name) in known and value}
        warnings += _not_learnt(said, present, {*known, *here.elsewhere})
    else:
        _refuse_doubtful(present, here)
        said = {index: name for index, name in labels.items() if index != _BACKGROUND}
        to_index = {index: index for index in said}
    spoken = set(to_index.values())
    if annotated is not None:
        spoken = {known[plain(name)] for name in annotated if plain(name) in known}
        warnings += _not_there(annotated, {*known, *here.elsewhere, *map(plain, said.values())})
    # A mark of a name that the author does not speak about counts as nothing: as a class of its own it would be learnt.
    learnt = {value: index if index in spoken else _BACKGROUND for value, index in to_index.items()}
    if unseen := marked - present:
        learnt |= dict.fromkeys(unseen, UNLABELLED)
        warnings.append(f"Voxels of value {UNLABELLED} count as not looked at: they are no label, nor background")
    return MappedLabel(
        saved=label.array,
        values=tuple(sorted({learnt[value] for value in present if value in learnt} - {_BACKGROUND})),
        to_index=None if all(learnt.get(value, _BACKGROUND) == value for value in marked) else learnt,
        annotated=tuple(labels[index] for index in sorted(spoken)),
        warnings=tuple(warnings),
        names=dict(said),
    )


def _not_learnt(said: Mapping[int, str], present: set[int], heard: set[str]) -> list[str]:
    """Return warnings of names that nobody here has, and of values without a name."""
    warnings = []
    unknown = sorted(name for value, name in said.items() if value and plain(name) not in heard)
    if unknown:
        warnings.append(f"Kept but not learnt, since the experiment has no such label: {', '.join(unknown)}")
    if nameless := sorted(present - said.keys()):
        warnings.append(f"Kept but not learnt, since they have no name: values {', '.join(map(str, nameless))}")
    return warnings


def _not_there(annotated: Sequence[str], heard: set[str]) -> list[str]:
    """Return a warning of names that the label is said to speak about and that nobody here has."""
    strange = sorted(name for name in annotated if plain(name) not in heard)
    return [f"The experiment has no such label: {', '.join(strange)}"] if strange else []


def _refuse_doubtful(present: set[int], here: Names) -> None:
    """Refuse values without names that are no index of the experiment, or that several experiments call differently."""
    known = here.known.keys() - {_BACKGROUND}
    if strange := sorted(present - known):
        expected = _short(sorted(known))
        msg = f"The label has the values {_short(strange)}, the experiment has {expected}: name the label's values"
        raise MismatchError(msg)
    doubtful = [f"{value} could be {' or '.join(here.unsure[value])}" for value in sorted(present & here.unsure.keys())]
    if doubtful:
        msg = f"Experiments here differ in what the label's values mean: {'; '.join(doubtful)}. Name the label's values"
        raise MismatchError(msg)


def _replace(array: NDArray[Any], to_index: Mapping[int, int]) -> NDArray[Any]:
    """Replace each value by its index, and values without one by 0."""
    size = max([int(array.max(initial=0)), *to_index], default=0) + 1
    highest = max(to_index.values(), default=0)
    table = np.zeros(size, dtype=np.uint8 if highest < 2**8 else np.uint16)
    for value, index in to_index.items():
        table[value] = index
    turned = array.T  # files are read with the first axis fastest
    if array.dtype == table.dtype == np.uint8:
        bytes_of = np.zeros(2**8, dtype=np.uint8)
        bytes_of[:size] = table
        packed = np.ascontiguousarray(turned).tobytes().translate(bytes_of.tobytes())  # 5 times as fast as indexing
        return np.frombuffer(packed, dtype=np.uint8).reshape(turned.shape).T
    replaced: NDArray[Any] = table[turned].T
    return replaced


def _short(values: Sequence[int], most: int = 8) -> str:
    return ", ".join(map(str, values[:most])) + (" …" if len(values) > most else "")
