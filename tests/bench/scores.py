"""Scores of two hundred small images: by the first published model, by the next ones, and with a kill in between.

The network has little to compute: what is measured lies around it. Hosts are forked from a warm process.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import nibabel as nib
import numpy as np
from sqlalchemy import func, select

from configs.settings import Settings
from infra.adapters.catalog.tables import Candidate, Dataset, Experiment, ModelVersion
from infra.adapters.compute.processes import ROOT
from infra.wiring import Parts, open_parts
from tasks.images.sync import sync_dataset
from tasks.selection.refresh import refresh_experiment
from tests.bench import unet
from tests.bench.frame import Bench, Row, at_most, reported
from tests.builders import BUNDLE, World, add_version, build
from tests.fixtures_warm import running_warm_host
from tests.processes import end, wait_until

IMAGES = 200
SIDE = 32
_NETWORK = {**unet.DEFINITION, "channels": [4, 8], "strides": [2], "num_res_units": 0}


def rows(bench: Bench) -> Iterator[Row]:
    """Measure refreshes of all scores, one after each publication."""
    with running_warm_host(bench.folder) as address:
        settings = Settings(home=bench.folder / "home", warm_host=str(address))
        with closing(open_parts(settings)) as parts:
            world = _fill(parts, bench.folder / "images")
            first = _refreshed(parts, world)
            again = []
            for number in range(1, bench.repeats + 1):
                _publish(parts, world, number)
                again.append(_refreshed(parts, world))
            _publish(parts, world, bench.repeats + 1)
            seconds, kept, scored = _resumed(parts, world)
    yield reported(f"scores of {IMAGES} images, first time", "s", [first])
    yield reported(f"scores of {IMAGES} images, after one more publication", "s", again)
    yield reported("scores after a kill halfway", "s", [seconds], f"{kept} were kept, {scored} made")
    yield at_most("images scored twice by that", 0, "", [kept + scored - IMAGES])


def _fill(parts: Parts, images: Path) -> World:
    """Make a data set, and an experiment that has published a network with weights by chance."""
    images.mkdir()
    for number in range(IMAGES):
        values = np.random.default_rng(number).integers(-100, 200, (SIDE,) * 3, np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([*unet.SPACING_MM, 1.0])), images / f"case-{number:03}.nii.gz")
    parts.catalog.migrate()
    unet.write_bundle(parts.settings.home / "bundles" / BUNDLE, _NETWORK, (SIDE,) * 3)
    world = build(parts.catalog, images=0)
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = {"kind": "folder", "url": str(images)}
    sync_dataset(parts, world.dataset)
    return world


def _publish(parts: Parts, world: World, number: int) -> None:
    version = add_version(parts.catalog, world, number)
    with parts.catalog.write() as session:
        session.get_one(ModelVersion, version).weights = None
        session.get_one(Experiment, world.experiment).published_version = version


def _refreshed(parts: Parts, world: World) -> float:
    """Return the seconds of a refresh of all scores."""
    start = time.perf_counter()
    scored = refresh_experiment(parts, world.experiment)
    if scored != IMAGES:
        raise ValueError(f"{scored} of {IMAGES} images were scored")
    return time.perf_counter() - start


def _resumed(parts: Parts, world: World) -> tuple[float, int, int]:
    """Kill a refresh halfway; return the seconds of the next one, how many scores it found, and how many it made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.scores", world.experiment],
        env=parts.settings.child_environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        half = IMAGES // 2
        wait_until(lambda: process.poll() is not None or _kept(parts, world) >= half, "half of the scores")
    finally:
        end(process, signal.SIGKILL)
    kept, start = _kept(parts, world), time.perf_counter()
    scored = refresh_experiment(parts, world.experiment)
    if _kept(parts, world) != IMAGES:
        raise ValueError(f"{kept} scores were kept before a kill, {scored} made after it, and not all images have one")
    return time.perf_counter() - start, kept, scored


def _kept(parts: Parts, world: World) -> int:
    """Return how many images have a score of the published version."""
    with parts.catalog.read() as session:
        published = session.get_one(Experiment, world.experiment).published_version
        return session.scalar(select(func.count()).where(Candidate.version_id == published)) or 0


if __name__ == "__main__":
    refresh_experiment(open_parts(Settings()), sys.argv[1])
