"""Two training loops: ours, and Lightning's own on the same network, cases and transforms.

The other one is what both projects' documentation shows: MONAI's CacheDataset, which copies a case before its random
transforms, and Lightning's Trainer, which keeps a checkpoint an epoch. Ours does both as well. Its bar and its logger
are off: we have neither.

`python -m tests.bench.loops ours|plain CASES FOLDER` prints a `tests.bench.training.Measured`.
"""

import os
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pydantic import TypeAdapter

from configs.specs.train import TrainSpec
from configs.wire.host import Case, Checkpoint, HostMessage, TrainRequest
from tasks.compute import lean
from tests.bench.training import Measured

lean.import_monai()

from lightning.pytorch import LightningModule, Trainer  # noqa: E402 - MONAI is imported lean first
from monai.data import CacheDataset, list_data_collate  # noqa: E402 - as above
from torch import Tensor  # noqa: E402 - as above
from torch.utils.data import DataLoader  # noqa: E402 - as above

from tasks.compute.loader.config import Bundle  # noqa: E402 - as above
from tasks.compute.training import run as ours  # noqa: E402 - as above
from tasks.compute.training.module import Segmenter  # noqa: E402 - as above
from tasks.compute.training.team import Team  # noqa: E402 - as above

EPOCHS = 7
BATCH = 2
SAMPLE = Path(__file__).resolve().parents[2] / "bundles" / "sample"
LABELS = {1: "grey matter", 2: "white matter", 3: "cerebellar grey matter"}


class Clock:
    """Begins and seconds of steps."""

    def __init__(self) -> None:
        self.begins: list[float] = []
        self.seconds: list[float] = []

    def epoch(self, steps: int) -> tuple[float, float]:
        """Return the seconds of an epoch, and of its steps alone where they were timed: all but the first and last."""
        first, last = steps, len(self.begins) - steps
        epochs = (last - first) / steps
        return (self.begins[last] - self.begins[first]) / epochs, sum(self.seconds[first:last]) / epochs


class Timed(Segmenter):
    """Ours, watched."""

    clock = Clock()

    def training_step(self, batch: list[dict[str, Any]], index: int) -> dict[str, Tensor]:
        """Take a step."""
        self.clock.begins.append(time.perf_counter())
        loss = super().training_step(batch, index)
        self.clock.seconds.append(time.perf_counter() - self.clock.begins[-1])
        return loss


class Heard:
    """Counts checkpoints; drops the rest."""

    checkpoints = 0

    def say(self, message: HostMessage) -> None:
        """Take a message."""
        self.checkpoints += isinstance(message, Checkpoint)


class Plain(LightningModule):  # type: ignore[misc]  # Lightning's types are not read
    """What Lightning's documentation shows."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        config = bundle.training()
        if config is None:
            raise SystemExit("the sample bundle has no training configuration")
        self.network, self.loss = config.build("network"), config.build("loss")
        self.optimizer, self.transforms = config.build("optimizer"), config.build("train#preprocessing")
        self.clock = Clock()

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Return the loss."""
        self.clock.begins.append(time.perf_counter())
        found: Tensor = self.loss(self.network(batch["image"]), batch["label"])
        return found

    def configure_optimizers(self) -> Any:
        """Return the bundle's."""
        return self.optimizer


def with_ours(cases: list[Case], folder: Path) -> Measured:
    """Train as a round does."""
    heard = Heard()
    ours.Segmenter = Timed  # type: ignore[attr-defined]  # the same, watched
    ours.train(_request(cases, folder), heard, SimpleQueue(), Team(), 0)
    seconds, within = Timed.clock.epoch(-(-len(cases) // BATCH))
    return Measured(epoch=seconds, within_steps=within, checkpoints=heard.checkpoints)


def with_plain(cases: list[Case], folder: Path) -> Measured:
    """Train as Lightning's documentation shows."""
    plain = Plain(Bundle(SAMPLE))
    listed = [{"image": case.image[0], "label": case.label} for case in cases]
    cached = CacheDataset(listed, plain.transforms, progress=False)
    loader = DataLoader(cached, batch_size=BATCH, shuffle=True, collate_fn=list_data_collate, num_workers=0)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(plain, loader)
    return Measured(epoch=plain.clock.epoch(len(loader))[0], checkpoints=EPOCHS)


def _request(cases: list[Case], folder: Path) -> TrainRequest:
    return TrainRequest(
        bundle=str(SAMPLE),
        cases=cases,
        labels=LABELS,
        spec=TrainSpec(epochs=EPOCHS, batch_size=BATCH),
        out=str(folder),
        cache=str(folder / "cache"),
    )


if __name__ == "__main__":
    loop, (asked, place) = sys.argv[1], map(Path, sys.argv[2:])
    os.chdir(place)
    given = TypeAdapter(list[Case]).validate_json(asked.read_bytes())
    found = {"ours": with_ours, "plain": with_plain}[loop](given, place)
    sys.stdout.write(f"\n{found.model_dump_json()}\n")
