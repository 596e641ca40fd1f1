"""Bundles of every shape that the model zoo has, as small as they can be: what a generic loader has to take in."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests import bundle_of_boxes

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


def in_yaml() -> Shape:
    """As six of the zoo's."""
    return Shape(as_yaml=True)


def odd_ids() -> Shape:
    """Older ids, names of outputs in the configuration alone, a network that only the evaluator names."""
    shape = Shape(outputs={"pred": {"num_channels": 2, "channel_def": {}}})
    made = shape.inference
    made["pre_transforms"], made["post_transforms"] = made.pop("preprocessing"), made.pop("postprocessing")
    made["post_transforms"]["transforms"][1]["transform"] = "@pre_transforms"
    made["dataset"]["transform"] = "@pre_transforms"
    made["net"] = made.pop("network_def")
    del made["network"]
    made["evaluator"]["network"] = "$@net.to(@device)"
    made["label_names"] = {"tumour": 1, "background": 0}
    return shape


def order_reversed() -> Shape:
    """Decides before it inverts, takes its windows from `displayable_configs`, types before channels (wholeBody_ct)."""
    shape = Shape()
    made = shape.inference
    made["displayable_configs"] = {"highres": True, "sw_overlap": 0.25}
    made["inferer"] = {**WINDOWS, "overlap": "@displayable_configs#sw_overlap"}
    made["preprocessing"]["transforms"].insert(1, {"_target_": "EnsureTyped", "keys": "image"})
    made["postprocessing"]["transforms"] = [SOFTMAX, ARGMAX, {**INVERT, "nearest_interp": True}, SAVE]
    return shape


def regions() -> Shape:
    """Overlapping regions by sigmoid over images of several files, a list of data that is not there (brats_mri)."""
    regions = {"0": "tumour core", "1": "whole tumour", "2": "enhancing tumour"}
    shape = Shape(
        outputs={"pred": {"num_channels": 3, "channel_def": regions}},
        inputs={"image": {"num_channels": 4, "spatial_shape": ["8*n"] * 3}},
    )
    for made in shape.both():
        made["network_def"] |= {"in_channels": 4, "out_channels": 3}
        made["data_list_file_path"] = "$@bundle_root + '/configs/datalist.json'"
        made["images"] = "$monai.data.load_decathlon_datalist(@data_list_file_path)"
        made["network_def"] |= {"channels": [16, 32], "num_res_units": 0}
    sigmoid = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
    threshold = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    joined = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    join = {"_target_": "Lambdad", "keys": "pred", "func": joined}
    normal = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    shape.inference["preprocessing"]["transforms"] = [LOAD[0], normal]
    shape.inference["postprocessing"]["transforms"] = [sigmoid, INVERT, threshold, join, SAVE]
    assert shape.train is not None
    convert = {"_target_": "ConvertToMultiChannelBasedOnBratsClassesd", "keys": "label"}
    shape.train["train"]["preprocessing"]["transforms"] = [BOTH[0], convert, normal]
    shape.train["validate"]["preprocessing"]["transforms"] = [BOTH[0], convert, normal]
    shape.train["loss"] = {"_target_": "DiceLoss", "sigmoid": True}
    shape.train["validate"]["postprocessing"]["transforms"] = [sigmoid, threshold]
    return shape


SCRIPTS = '''
"""Code of the bundle's own, in the package that every bundle calls `scripts`."""

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.networks.nets import UNet


class Net(UNet):
    """A network of its own."""


class Evaluator(SupervisedEvaluator):
    """An evaluator of its own."""


class Trainer(SupervisedTrainer):
    """A trainer of its own: it learns a crop that it chooses itself, as VISTA-3D's learns prompts."""

    def _iteration(self, engine, batch):
        image, label = (batch[key].to(engine.state.device) for key in ("image", "label"))
        engine.optimizer.zero_grad()
        answer = engine.inferer(image[..., :16, :16, :16], engine.network)
        loss = engine.loss_function(answer, label[..., :16, :16, :16])
        loss.backward()
        engine.optimizer.step()
        return {"loss": loss.detach()}


class Interaction:
    """What happens in one iteration, as DeepEdit's."""

    def __call__(self, engine, batch):
        return Trainer._iteration(engine, engine, batch)


class AddClicks:
    """Channels for clicks, one per label name, of which a request need not have any (spleen_deepedit)."""

    def __init__(self, label_names):
        self.label_names = label_names

    def __call__(self, item):
        signals = torch.zeros(len(self.label_names), *item["image"].shape[1:])
        for number, name in enumerate(self.label_names):
            for i, j, k in item.get(name, []):
                signals[number, i, j, k] = 1
        item["image"].array = torch.cat([item["image"].as_tensor(), signals])
        return item


class NeedsMore:
    """A transform that no image alone satisfies."""

    def __call__(self, item):
        return {**item, "image": item["image"] * item["dose"]}


class Invert:
    """A transform of its own."""

    def __call__(self, item):
        item["image"] = -item["image"]
        return item
'''


def own_scripts() -> Shape:
    """A network, a transform and an evaluator of its own."""
    shape = Shape(files={"scripts/__init__.py": "", "scripts/parts.py": SCRIPTS})
    for made in shape.both():
        made["network_def"] = {**NETWORK, "_target_": "scripts.parts.Net"}
    shape.inference["preprocessing"]["transforms"].append({"_target_": "scripts.parts.Invert"})
    shape.inference["evaluator"]["_target_"] = "scripts.parts.Evaluator"
    return shape


def own_trainer() -> Shape:
    """A trainer of its own, and a checkpoint loader that is switched off (vista3d)."""
    shape = Shape(files={"scripts/__init__.py": "", "scripts/parts.py": SCRIPTS})
    assert shape.train is not None
    shape.train["train"]["trainer"] |= {"_target_": "scripts.parts.Trainer", "amp": False}
    shape.train["train"]["handlers"][-1]["_disabled_"] = "$not @finetune"
    shape.train["finetune"] = False
    return shape


def own_iteration() -> Shape:
    """The engine is part of the algorithm (spleen_deepedit)."""
    shape = Shape(files={"scripts/__init__.py": "", "scripts/parts.py": SCRIPTS})
    assert shape.train is not None
    shape.train["train"]["trainer"]["iteration_update"] = {"_target_": "scripts.parts.Interaction"}
    return shape


def with_clicks() -> Shape:
    """More input channels than the image has: clicks for each label name are channels, too (spleen_deepedit)."""
    shape = own_iteration()
    shape.inputs = {"image": {"num_channels": 3, "spatial_shape": ["8*n"] * 3, "channel_def": {"0": "image"}}}
    shape.outputs = {"pred": {"num_channels": 2}}
    for made in shape.both():
        made["label_names"] = {"organ": 1, "background": 0}
        made["network_def"] = {**NETWORK, "in_channels": 3}
    clicks = {"_target_": "scripts.parts.AddClicks", "label_names": "@label_names"}
    shape.inference["preprocessing"]["transforms"].append(clicks)
    return shape


def needs_more() -> Shape:
    """Its preprocessing wants what no image has."""
    shape = own_scripts()
    shape.inference["preprocessing"]["transforms"].append({"_target_": "scripts.parts.NeedsMore"})
    return shape


def opens_files() -> Shape:
    """Opens files when they are named, and closes them in `finalize` (endoscopic_inbody)."""
    shape = Shape()
    made = shape.inference
    made["test_fp"] = "$open(@bundle_root + '/label/test_samples.json', 'r', encoding='utf8')"
    made["data_list"] = "$json.load(@test_fp)"
    made["dataset"]["data"] = "@data_list"
    made["finalize"] = ["$@test_fp.close()"]
    return shape


def no_training() -> Shape:
    """Only infers."""
    return Shape(train=None)


def own_loop() -> Shape:
    """A loop written by hand (mednist_reg, valve_landmarks)."""
    shape = Shape()
    assert shape.train is not None
    shape.train = {**shape.train, "train": {"crop": 1}, "run": ["$scripts.train(@network)"]}
    return shape


def unlike_metadata() -> Shape:
    """Metadata that say one channel, and name many (vista3d); spatial shapes and names of another form."""
    named = {str(channel): f"class {channel}" for channel in range(1, 134)} | {"all": "everything"}
    shape = Shape(
        outputs={"pred": {"num_channels": "one", "channel_def": named, "spatial_shape": "any"}},
        metadata={"required_packages_version": ["numpy"], "monai_version": "1.4.0"},
    )
    shape.inputs["image"]["spatial_shape"] = [["8*n"], None]
    return shape


def gone_argument() -> Shape:
    """A network whose arguments have changed since (swin_unetr_btcv)."""
    shape = Shape()
    shape.inference["network_def"] = {
        "_target_": "SwinUNETR",
        "img_size": [32] * 3,
        "in_channels": 1,
        "out_channels": 2,
    }
    return shape


def gone_network() -> Shape:
    """A network that this MONAI has not got."""
    shape = Shape()
    shape.inference["network_def"] = {"_target_": "monai.networks.nets.NotAnyMore", "out_channels": 2}
    return shape


def unknown_package() -> Shape:
    """Code that imports what is not installed."""
    files = {"scripts/__init__.py": "", "scripts/parts.py": "import segment_anything_of_somebody\n"}
    shape = Shape(files=files)
    shape.inference["network_def"] = {**NETWORK, "_target_": "scripts.parts.Net"}
    return shape


def required_package() -> Shape:
    """Metadata that require what is not installed."""
    return Shape(metadata={"required_packages_version": {"numpy": "1.0", "no-such-package": "2.0"}})


def no_weights() -> Shape:
    """No weights, and no word that random ones will do."""
    return Shape(metadata={"weights": ""})


def tells_a_class() -> Shape:
    """A class of a whole 2-D image (endoscopic_inbody)."""
    shape = Shape(
        inputs={"image": {"num_channels": 3, "spatial_shape": [32, 32]}},
        outputs={"pred": {"type": "probabilities", "format": "classes", "num_channels": 2, "spatial_shape": [1, 2]}},
    )
    network = {"_target_": "SEResNet50", "spatial_dims": 2, "in_channels": 3, "num_classes": 2}
    for made in shape.both():
        made |= {"network_def": network, "inferer": {"_target_": "SimpleInferer"}}
    return shape


def tells_a_class_and_no_word_of_it() -> Shape:
    """The same, where the metadata might be any network's."""
    shape = tells_a_class()
    shape.outputs = {"pred": {"num_channels": 2}}
    return shape


def finds_boxes() -> Shape:
    """Boxes, by a detector around the network, with trainer, evaluator and metric (lung_nodule_ct_detection)."""
    shape = Shape(
        inference={**bundle_of_boxes.DETECTOR, "preprocessing": {"_target_": "Compose", "transforms": LOAD}},
        train={**bundle_of_boxes.DETECTOR, **bundle_of_boxes.TRAINING},
        outputs={"pred": {"type": "object", "format": "dict", "num_channels": 1, "channel_def": {"0": "nodule"}}},
        inputs={"image": {"num_channels": 1, "spatial_shape": [24] * 3}},
        files={"scripts/__init__.py": "", "scripts/detection.py": bundle_of_boxes.SCRIPTS},
    )
    shape.inference["inferer"] = {"_target_": "scripts.detection.DetectorInferer", "detector": "@detector"}
    return deepcopy(shape)


def finds_boxes_in_voxels() -> Shape:
    """Boxes, and a training that takes them in voxels: it could not be told where they lie."""
    shape = finds_boxes()
    assert shape.train is not None
    for side in ("train", "validate"):
        shape.train[side]["preprocessing"]["transforms"].pop()
    return shape


SERVES: dict[str, tuple[Callable[[], Shape], str, str]] = {
    "plain": (plain, "A", "plain SupervisedTrainer"),
    "yaml": (in_yaml, "A", "plain SupervisedTrainer"),
    "odd_ids": (odd_ids, "A", "plain SupervisedTrainer"),
    "order_reversed": (order_reversed, "A", "plain SupervisedTrainer"),
    "regions": (regions, "A", "plain SupervisedTrainer"),
    "own_scripts": (own_scripts, "A", "plain SupervisedTrainer"),
    "own_trainer": (own_trainer, "B", "Its trainer is scripts.parts.Trainer, which is run as it is"),
    "own_iteration": (own_iteration, "B", "its own iteration_update, which is run as it is"),
    "with_clicks": (with_clicks, "B", "its own iteration_update"),
    "opens_files": (opens_files, "A", "plain SupervisedTrainer"),
    "no_training": (no_training, "C", "no configs/train.json or .yaml: inference only"),
    "own_loop": (own_loop, "C", "no train#trainer: inference only"),
    "unlike_metadata": (unlike_metadata, "A", "plain SupervisedTrainer"),
}
REFUSED: dict[str, tuple[Callable[[], Shape], str]] = {
    "gone_argument": (gone_argument, r"network cannot be built: TypeError: .*'img_size'.*written for MONAI 1\.0\.0"),
    "gone_network": (gone_network, r"network cannot be built: .*NotAnyMore"),
    "unknown_package": (unknown_package, "pip install segment_anything_of_somebody"),
    "required_package": (required_package, "not installed here: pip install no-such-package"),
    "tells_a_class_and_no_word_of_it": (tells_a_class_and_no_word_of_it, r'write "format": "classes"'),
    "no_weights": (no_weights, r"models/model\.pt"),
}
