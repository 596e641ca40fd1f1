"""One bundle as MONAI's own examples are, from which the others differ."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Written = dict[str, Any]
SIZE = 16

NETWORK: Written = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
}
LOAD = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "ScaleIntensityd", "keys": "image"},
]
WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [SIZE] * 3, "sw_batch_size": 1, "overlap": 0.25}
INVERT = {
    "_target_": "Invertd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
    "nearest_interp": False,
}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}
BOTH = [
    {"_target_": "LoadImaged", "keys": ["image", "label"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
    {"_target_": "ScaleIntensityd", "keys": "image"},
]
INFERENCE: Written = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": LOAD},
    "dataset": {"_target_": "Dataset", "data": "$glob.glob('/nowhere/*')", "transform": "@preprocessing"},
    "inferer": WINDOWS,
    "postprocessing": {"_target_": "Compose", "transforms": [SOFTMAX, INVERT, ARGMAX, SAVE]},
    "evaluator": {"_target_": "SupervisedEvaluator", "network": "@network", "inferer": "@inferer"},
}
TRAIN: Written = {
    "bundle_root": ".",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "epochs": 2,
    "val_interval": 1,
    "learning_rate": 0.02,
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "loss": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": "@learning_rate"},
    "train": {
        "preprocessing": {"_target_": "Compose", "transforms": BOTH},
        "dataset": {"_target_": "CacheDataset", "data": "$[{}]", "transform": "@train#preprocessing", "num_workers": 4},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 2, "num_workers": 4},
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [
            {"_target_": "ValidationHandler", "validator": "@validate#evaluator", "interval": "@val_interval"},
            {"_target_": "StatsHandler", "tag_name": "train_loss", "output_transform": "$lambda x: 1 / 0"},
            {"_target_": "TensorBoardStatsHandler", "log_dir": "/nowhere"},
            {"_target_": "CheckpointLoader", "load_path": "/nowhere/model.pt", "load_dict": {"model": "@network"}},
        ],
        "trainer": {
            "_target_": "SupervisedTrainer",
            "max_epochs": "@epochs",
            "device": "@device",
            "train_data_loader": "@train#dataloader",
            "network": "@network",
            "loss_function": "@loss",
            "optimizer": "@optimizer",
            "inferer": "@train#inferer",
            "train_handlers": "@train#handlers",
            "amp": True,
        },
    },
    "validate": {
        "preprocessing": {"_target_": "Compose", "transforms": BOTH},
        "dataset": {"_target_": "Dataset", "data": "$[{}]", "transform": "@validate#preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset", "num_workers": 4},
        "inferer": WINDOWS,
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                SOFTMAX,
                {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2},
            ],
        },
        "handlers": [{"_target_": "CheckpointSaver", "save_dir": "/nowhere", "save_dict": {"model": "@network"}}],
        "key_metric": {
            "val_mean_dice": {
                "_target_": "MeanDice",
                "include_background": False,
                "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
            }
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@validate#dataloader",
            "network": "@network",
            "inferer": "@validate#inferer",
            "postprocessing": "@validate#postprocessing",
            "key_val_metric": "@validate#key_metric",
            "val_handlers": "@validate#handlers",
            "amp": True,
        },
    },
}
NAMES = {"0": "background", "1": "organ"}


@dataclass
class Shape:
    """One bundle: its files' content by name."""

    inference: Written = field(default_factory=lambda: deepcopy(INFERENCE))
    train: Written | None = field(default_factory=lambda: deepcopy(TRAIN))
    outputs: Written = field(default_factory=lambda: {"pred": {"num_channels": 2, "channel_def": dict(NAMES)}})
    inputs: Written = field(default_factory=lambda: {"image": {"num_channels": 1, "spatial_shape": ["8*n"] * 3}})
    metadata: Written = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    as_yaml: bool = False

    def both(self) -> list[Written]:
        """Return the configurations that there are."""
        return [self.inference, *([self.train] if self.train is not None else [])]

    def write(self, folder: Path) -> Path:
        """Write the bundle; returns its folder."""
        (folder / "configs").mkdir(parents=True)
        about = {"version": "0.1", "name": folder.name, "weights": "random(0)", "monai_version": "1.0.0"}
        form = {"inputs": self.inputs, "outputs": self.outputs}
        text = json.dumps({**about, "network_data_format": form, **self.metadata})
        (folder / "configs" / "metadata.json").write_text(text)
        for name, content in {"inference": self.inference, "train": self.train}.items():
            if content is not None:
                file = folder / "configs" / f"{name}.{'yaml' if self.as_yaml else 'json'}"
                file.write_text(yaml.safe_dump(content) if self.as_yaml else json.dumps(content))
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder


def plain() -> Shape:
    """As MONAI's own examples are."""
    return Shape()
