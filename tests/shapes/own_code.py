"""Bundles with code of their own: networks, transforms, evaluators and trainers."""

import json
from pathlib import Path

from tests.shapes.shape import NETWORK, Shape

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


CLASSES = '''
"""What happens in one iteration of a trainer that learns classes."""


class Interaction:
    def __call__(self, engine, batch):
        image, label = (batch[key].to(engine.state.device) for key in ("image", "label"))
        engine.optimizer.zero_grad()
        loss = engine.loss_function(engine.inferer(image, engine.network), label)
        loss.backward()
        engine.optimizer.step()
        return {"loss": loss.detach()}
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


def teach_classifier(folder: Path) -> Path:
    """Give a bundle that tells classes an iteration of its own; returns its folder."""
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "classes.py").write_text(CLASSES)
    file = folder / "configs" / "train.json"
    written = json.loads(file.read_text())
    written["train"]["trainer"]["iteration_update"] = {"_target_": "scripts.classes.Interaction"}
    file.write_text(json.dumps(written))
    return folder
