"""Scoring methods and strategies by name."""

from typing import Literal

Strategy = Literal["random", "first", "entropy"]
ScoringMethod = Literal["entropy"]
