"""What training costs beside its arithmetic, and whether a plain Lightning loop would be faster.

Both train the sample bundle's network on eight volumes of 60 x 72 x 60 voxels, in patches and batches as the bundle
says, with its random transforms, for the same number of epochs; ours keeps checkpoints and reports besides. They run
by turns in a process of their own: this one stays without torch.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from configs.wire.host import Case
from infra.adapters.compute.processes import ROOT
from tasks.images.sample.write import write_cases
from tests.bench.frame import Bench, Row, at_least, at_most, reported

VOLUMES = 8


class Measured(BaseModel):
    """One turn: seconds an epoch after the first one, ours and the plain loop's, and ours within the steps."""

    ours: float
    within_steps: float
    checkpoints: int
    plain: float


def rows(bench: Bench) -> Iterator[Row]:
    """Measure training against a plain loop."""
    folder = bench.folder / "training"
    write_cases(folder / "images", folder / "truth", count=VOLUMES, seed=1)
    cases = [_case(folder, number) for number in range(1, VOLUMES + 1)]
    asked = folder / "cases.json"
    asked.write_text(json.dumps([case.model_dump() for case in cases]))
    turns = [_turn(asked, folder / str(number)) for number in range(bench.repeats)]
    beside = [100 * (1 - turn.within_steps / turn.ours) for turn in turns]
    note = f"after the first epoch; {turns[0].checkpoints} checkpoints"
    yield at_most("training: time outside forward, backward, step", 15, "%", beside, note)
    ratios = [turn.plain / turn.ours for turn in turns]
    yield at_least("training: images/s ÷ plain Lightning loop", 1.0, "x", ratios)
    yield reported("training: images a second", "/s", [VOLUMES / turn.ours for turn in turns])


def _case(folder: Path, number: int) -> Case:
    name = f"sample-{number:03}/t1.nii.gz"
    return Case(id=str(number), image=[str(folder / "images" / name)], label=str(folder / "truth" / name))


def _turn(cases: Path, folder: Path) -> Measured:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.bench.loops", str(cases), str(folder)]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Measured.model_validate_json(said.splitlines()[-1])
