"""How much of an image a label names."""

import torch

from tasks.compute.scoring.judged import Judged


def total(case: Judged) -> float:
    """Return the number of voxels that are of a drawn label, 0 or more: voxels are counted, not their values added."""
    return float(torch.isin(case.label, torch.tensor(case.drawn, dtype=case.label.dtype)).sum())
