"""What the configuration of an app's model names: each returns one part of the model, as the app's code makes it."""

from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from monai.transforms import Compose, ToNumpy, ToNumpyd
from torch import nn
from torch.optim import Optimizer

from tasks.compute.apps.interfaces import Context, InferTask, Loss, TrainTask
from tasks.compute.apps.load import Model, every_model, load, read_conf
from tasks.compute.failures import BundleFaultError
from tasks.compute.loader.config import WRITER


def model(root: str, name: str) -> Model:
    """Return a model of the app in the folder *root*."""
    folder = Path(root)
    return every_model(load(folder, read_conf(folder)))[name]


def network(model: Model, out_channels: int) -> nn.Module:
    """Return the model's network, with so many outputs."""
    return _infer(model).network(out_channels)


def before(model: Model) -> Compose:
    """Return what is done to an image before inference."""
    return _steps(_infer(model).pre_transforms())


def inferer(model: Model) -> Inferer:
    """Return how the network is applied in inference."""
    return _infer(model).inferer()


def after(model: Model) -> Compose:
    """Return what is done to an answer."""
    return _steps(_infer(model).post_transforms())


def context(model: Model, network: nn.Module, device: torch.device) -> Context:
    """Return what the methods of the model's training are given."""
    return Context(network, device, _infer(model))


def loss(model: Model, context: Context) -> Loss:
    """Return the training's loss."""
    return _train(model).loss_function(context)


def optimizer(model: Model, context: Context) -> Optimizer:
    """Return the training's optimizer."""
    return _train(model).optimizer(context)


def train_before(model: Model, context: Context) -> Compose:
    """Return what is done to a case to train on."""
    return _steps(_train(model).train_pre_transforms(context))


def train_after(model: Model, context: Context) -> Compose:
    """Return what is done to an answer in training."""
    return _steps(_train(model).train_post_transforms(context))


def train_inferer(model: Model, context: Context) -> Inferer:
    """Return how the network is applied in training."""
    return _train(model).train_inferer(context)


def validate_before(model: Model, context: Context) -> Compose:
    """Return what is done to a case to judge by."""
    return _steps(_train(model).val_pre_transforms(context))


def validate_after(model: Model, context: Context) -> Compose:
    """Return what is done to an answer that is judged."""
    return _steps(_train(model).val_post_transforms(context))


def validate_inferer(model: Model, context: Context) -> Inferer:
    """Return how the network is applied to a case that is judged."""
    return _train(model).val_inferer(context)


def _steps(made: Any) -> Compose:
    """Return transforms as one, without those that write files, or forget where an image lies in space."""
    steps = Compose(made).flatten().transforms
    kept = [
        step for step in steps if not (isinstance(step, ToNumpy | ToNumpyd) or WRITER.fullmatch(type(step).__name__))
    ]
    return Compose(kept)


def _infer(model: Model) -> InferTask:
    if not isinstance(model.infer, InferTask):
        raise BundleFaultError(f"The model {model.name!r} is a bundle, which has a configuration of its own")
    return model.infer


def _train(model: Model) -> TrainTask:
    if model.train is None:
        raise BundleFaultError(f"init_trainers of the app has none for the model {model.name!r}")
    return model.train
