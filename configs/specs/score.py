"""Scoring methods and strategies by name."""

from typing import Literal, get_args

ScoringMethod = Literal["entropy", "epistemic"]
Strategy = Literal["random", "first", "entropy", "epistemic"]
SCORED: frozenset[str] = frozenset(get_args(ScoringMethod))
"""The strategies that read scores: each the one of the method with its name."""
