"""The scoring methods by name. To add one: its module, its line; its name and a sentence in configs/specs/score.py."""

from collections.abc import Callable

from configs.specs.score import ScoringMethod
from tasks.compute.scoring.entropy import entropy
from tasks.compute.scoring.epistemic import epistemic
from tasks.compute.scoring.subject import Scored, Subject

METHODS: dict[ScoringMethod, Callable[[Subject], Scored]] = {
    "entropy": entropy,
    "epistemic": epistemic,
}
