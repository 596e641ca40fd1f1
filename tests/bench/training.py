"""What training costs beside its arithmetic, and whether a plain Lightning loop would be faster.

Both train the sample bundle's network on eight volumes of 60 x 72 x 60 voxels, in patches and batches as the bundle
says, with its random transforms, for the same number of epochs; both keep a checkpoint of each. They run
by turns, each in a process of its own: what comes second in one finds its memory warm. This one stays without torch.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from configs.wire.host import Case
from infra.adapters.compute.processes import ROOT
from tasks.images.sample.write import write_cases
from tests.bench.frame import Bench, Row, at_least, at_most, reported

VOLUMES = 8


class Measured(BaseModel):
    """One loop: seconds an epoch after the first one, and of them within the steps, where they are timed."""

    epoch: float
    within_steps: float = 0.0
    checkpoints: int = 0


def rows(bench: Bench) -> Iterator[Row]:
    """Measure training against a plain loop."""
    folder = bench.folder / "training"
    write_cases(folder / "images", folder / "truth", count=VOLUMES, seed=1)
    cases = [_case(folder, number) for number in range(1, VOLUMES + 1)]
    asked = folder / "cases.json"
    asked.write_text(json.dumps([case.model_dump() for case in cases]))
    turns = [[_turn(loop, asked, folder) for loop in ("ours", "plain")] for _ in range(bench.repeats)]
    beside = [100 * (1 - ours.within_steps / ours.epoch) for ours, _ in turns]
    note = f"after the first epoch; {turns[0][0].checkpoints} checkpoints"
    yield at_most("training: time outside forward, backward, step", 15, "%", beside, note)
    ratios = [plain.epoch / ours.epoch for ours, plain in turns]
    yield at_least("training: images/s ÷ plain Lightning loop", 1.0, "x", ratios)
    yield reported("training: images a second", "/s", [VOLUMES / ours.epoch for ours, _ in turns])


def _case(folder: Path, number: int) -> Case:
    name = f"sample-{number:03}/t1.nii.gz"
    return Case(id=str(number), image=[str(folder / "images" / name)], label=str(folder / "truth" / name))


def _turn(loop: str, cases: Path, folder: Path) -> Measured:
    place = tempfile.mkdtemp(dir=folder)
    command = [sys.executable, "-m", "tests.bench.loops", loop, str(cases), place]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Measured.model_validate_json(said.splitlines()[-1])
