"""The scoring methods by name. To add one: its module, its line; its name and a sentence in configs/specs/score.py.

Or, in a package that is installed beside us, as an entry point of the group there: a function like those here, or a
`Method`. It is loaded in bundle hosts alone.
"""

from collections.abc import Callable
from importlib.metadata import entry_points

from configs.specs.score import GROUP
from tasks.compute.failures import BadInputError
from tasks.compute.scoring.clasp import clasp, in_turn
from tasks.compute.scoring.dice import dice
from tasks.compute.scoring.diversity import diversity, k_centre
from tasks.compute.scoring.entropy import entropy
from tasks.compute.scoring.epistemic import epistemic
from tasks.compute.scoring.judged import Judged
from tasks.compute.scoring.subject import Method
from tasks.compute.scoring.surface import surface
from tasks.compute.scoring.total import total

METHODS: dict[str, Method] = {
    "entropy": Method(entropy),
    "epistemic": Method(epistemic),
    "diversity": Method(diversity, k_centre),
    "clasp": Method(clasp, in_turn),
}

OF_LABELS: dict[str, Callable[[Judged], float]] = {
    "dice": dice,
    "surface": surface,
    "sum": total,
}


def method_named(name: str) -> Method:
    """Return a scoring method of images, ours or an installed package's.

    Raises:
        BadInputError: If no package of this environment has one of the name.
    """
    if name in METHODS:
        return METHODS[name]
    for point in entry_points(group=GROUP, name=name):
        found = point.load()
        return found if isinstance(found, Method) else Method(found)
    raise BadInputError(f"No package that is installed here has the scoring method {name!r}: install it again")
