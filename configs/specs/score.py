"""Scoring methods and strategies by name."""

from typing import Literal, get_args

ScoringMethod = Literal["entropy", "epistemic"]
Strategy = Literal["random", "first", "entropy", "epistemic"]
STRATEGIES: dict[Strategy, str] = {
    "random": "In a fixed random order",
    "first": "By id",
    "entropy": "Where the published model is least certain",
    "epistemic": "Where its predictions disagree, with dropout or flipped",
}
"""What each strategy is, in words for whoever chooses one."""
SCORED: dict[str, ScoringMethod] = {method: method for method in get_args(ScoringMethod)}
"""The strategies that read scores: each those of the method with its name."""
