"""A bundle that trains in a blink, in this process: what a bundle host does, without a host."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from configs.specs.train import TrainSpec
from configs.wire.host import Case, Checkpoint, HostCommand, HostMessage, Metric, Progress, TrainRequest, TrainResult
from tasks.compute.training.run import train
from tasks.compute.training.team import Team

NETWORK = '''
"""A network of one convolution with dropout, which can be told when to fail, and on images of which depth."""

import torch


class Net(torch.nn.Module):
    def __init__(self, fits=99, nan_at=None, not_deep=()):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.Dropout(0.2))
        self.fits, self.nan_at, self.seen, self.not_deep = fits, nan_at, 0, not_deep
        self.sizes = []

    def forward(self, image):
        if image.shape[-1] in self.not_deep:
            raise ValueError(f"depth {image.shape[-1]} is none that the network takes")
        if self.training and len(image) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        answer = self.layers(image)
        if self.training:
            self.seen += 1
            if self.seen == self.nan_at:
                return answer * float("nan")
        return answer
'''
METADATA = {
    "name": "small",
    "version": "1",
    "weights": "random(0)",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [8, 8, 8]}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "ball"}}},
    },
}
LOAD = [
    {"_target_": "LoadImaged", "keys": ["image", "label"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
]
TRAIN: dict[str, Any] = {
    "device": "$torch.device('cpu')",
    "epochs": 3,
    "learning_rate": 0.05,
    "network_def": {"_target_": "small_network.Net"},
    "network": "$@network_def.to(@device)",
    "loss": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": "@learning_rate"},
    "train": {
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [*LOAD, {"_target_": "RandScaleIntensityd", "keys": "image", "factors": 0.5, "prob": 1.0}],
        },
        "dataloader": {"_target_": "DataLoader", "batch_size": 2},
        "inferer": {"_target_": "SimpleInferer"},
        "trainer": {"_target_": "SupervisedTrainer", "max_epochs": "@epochs"},
    },
    "validate": {"preprocessing": {"_target_": "Compose", "transforms": LOAD}},
}


@dataclass
class Heard:
    """Takes what a training says; a test may answer a step with a command."""

    messages: list[HostMessage] = field(default_factory=list)
    commands: "SimpleQueue[HostCommand]" = field(default_factory=SimpleQueue)
    at_step: dict[int, HostCommand] = field(default_factory=dict)

    def say(self, message: HostMessage) -> None:
        """Keep the message."""
        self.messages.append(message)
        if isinstance(message, Progress) and message.step in self.at_step:
            self.commands.put(self.at_step.pop(message.step))

    @property
    def result(self) -> TrainResult:
        """What training ended with."""
        (found,) = (message for message in self.messages if isinstance(message, TrainResult))
        return found

    @property
    def checkpoint(self) -> Checkpoint:
        """The last checkpoint."""
        return [message for message in self.messages if isinstance(message, Checkpoint)][-1]

    def metric(self, name: str) -> dict[int, float]:
        """Return a metric over all labels by step."""
        found = (message for message in self.messages if isinstance(message, Metric))
        return {each.step: each.value for each in found if each.name == name and not each.label}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The bundle's folder."""
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    (folder / "configs" / "train.json").write_text(json.dumps(TRAIN))
    (folder / "small_network.py").write_text(NETWORK)
    return folder


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Six cases to train on and two to validate: a bright ball in noise."""
    random = np.random.default_rng(0)
    return [_case(tmp_path, number, random) for number in range(8)]


Run = Callable[..., Heard]


@pytest.fixture
def run(bundle: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train in this process, as a bundle host would; everything that it says comes back."""
    monkeypatch.chdir(tmp_path)

    def go(heard: Heard | None = None, *, name: str = "one", resume: str | None = None, **spec: Any) -> Heard:
        heard = heard or Heard()
        request = TrainRequest(
            bundle=str(bundle),
            cases=cases,
            labels={1: "ball"},
            spec=TrainSpec.from_request(spec),
            resume=resume,
            out=str(tmp_path / name),
            cache=str(tmp_path / "cache"),
        )
        (tmp_path / name).mkdir(exist_ok=True)
        train(request, heard, heard.commands, Team(), 0)
        return heard

    return go


def damage(cases: list[Case], *ids: str) -> None:
    """Cut these cases' images short."""
    for case in cases:
        if case.id in ids:
            path = Path(case.image[0])
            path.write_bytes(path.read_bytes()[:500])


def deepen(cases: list[Case], *ids: str) -> None:
    """Give these cases' images and labels another slice, empty."""
    for case in cases:
        for file in [*case.image, case.label or ""] if case.id in ids else []:
            array = np.asarray(nib.load(file).dataobj)
            nib.save(nib.Nifti1Image(np.pad(array, ((0, 0), (0, 0), (0, 1))), np.eye(4)), file)


def _case(folder: Path, number: int, random: np.random.Generator) -> Case:
    index = np.stack(np.meshgrid(*(np.arange(8),) * 3, indexing="ij"), -1)
    label = (np.linalg.norm(index - 3.5, axis=-1) < 2 + number % 3).astype(np.uint8)
    image = (label + random.normal(0, 0.1, label.shape)).astype(np.float32)
    for kind, values in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"{kind}{number}.nii")
    files = {"image": [str(folder / f"image{number}.nii")], "label": str(folder / f"label{number}.nii")}
    return Case(id=str(100 + number), side="train" if number < 6 else "validate", **files)
