"""Dice of the model's answer against a label: how far a person had to change it, or has missed something."""

from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import dice as overlap
from tasks.compute.metrics.dice import mean
from tasks.compute.scoring.judged import Judged


def dice(case: Judged) -> float:
    """Return the mean Dice of the labels that were drawn, 0..1; 1 where neither has any. Source: `metrics/dice.py`."""
    answer = case.answer()
    found = [overlap(Counts.of(case.label == index, answer == index)) for index in case.drawn]
    value = mean(found)
    return 1.0 if value is None else value
