"""What an app is written with. `docs/apps.md` shows one, and how a MONAI Label app ports.

App code runs in bundle hosts alone: it has no network, no credentials, and sees of the images what it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from monai.inferers import Inferer, SimpleInferer
from monai.transforms import Randomizable
from monai.transforms.traits import RandomizableTrait
from torch import nn
from torch.optim import AdamW, Optimizer

from tasks.compute.apps.datastore import Datastore

__all__ = [
    "App",
    "BundleTask",
    "Context",
    "Datastore",
    "InferTask",
    "KeyMetric",
    "Loss",
    "ScoringMethod",
    "Strategy",
    "TrainTask",
    "Transforms",
]

Transforms = Sequence[Callable[[Any], Any]]
Loss = Callable[[Any, torch.Tensor], torch.Tensor]
KeyMetric = Literal["mean_dice", "mean_iou"]


class InferTask:
    """A model: what its network is, and what is done to an image before and after it.

    Args:
        network: Makes the network, untrained, with so many outputs: experiments may have other labels than these.
        labels: What is drawn, in the order of the values in a label, from 1; or the classes that are told, from 0.
        path: Its first weights, a file in the app's folder; None = random ones, always the same.
        description: A sentence for who chooses a model.
        answers: A label map, or the class of a whole image.
        channels: Of the image that the network takes.
        spatial_shape: Of what it sees at a time, where its inferer does not say that; two extents for pictures.
    """

    def __init__(
        self,
        network: Callable[[int], nn.Module],
        *,
        labels: Sequence[str],
        path: Path | None = None,
        description: str = "",
        answers: Literal["mask", "class"] = "mask",
        channels: int = 1,
        spatial_shape: Sequence[int] = (64, 64, 64),
    ) -> None:
        self.network = network
        self.labels = list(labels)
        self.path = path
        self.description = description
        self.answers: Literal["mask", "class"] = answers
        self.channels = channels
        self.spatial_shape = list(spatial_shape)

    def pre_transforms(self, data: Mapping[str, Any] | None = None) -> Transforms:
        """Return what turns `{"image": file}` into what the network takes, of shape (channel, i, j, k)."""
        raise NotImplementedError

    def inferer(self, data: Mapping[str, Any] | None = None) -> Inferer:  # noqa: ARG002 - what overrides it may read
        """Return how the network is applied to an image."""
        return SimpleInferer()

    def post_transforms(self, data: Mapping[str, Any] | None = None) -> Transforms:
        """Return what is done to the network's answer, `pred`.

        `Activationsd(sigmoid=True)` here says that labels may overlap, each an output of its own; else there is one
        label a voxel, and output 0 is background. The answer is brought to the image's own grid without you.
        """
        raise NotImplementedError


class BundleTask:
    """A model that is a MONAI bundle: it predicts and trains by its own configuration.

    Args:
        folder: The bundle, in the app's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder


@dataclass(frozen=True)
class Context:
    """What a training is made of, for the methods of `TrainTask`.

    Attributes:
        network: What is trained.
        device: Where it is.
        infer: The model's inference task.
    """

    network: nn.Module
    device: torch.device
    infer: InferTask


class TrainTask:
    """How a model learns, by Lightning. Override what is here and nothing else: other names are refused at start.

    Args:
        epochs: How long, where the round's training says nothing.
        batch_size: Items in a step, where it says nothing.
        val_interval: Epochs between two validations, where it says nothing.
    """

    def __init__(self, *, epochs: int = 20, batch_size: int = 1, val_interval: int = 1) -> None:
        self.epochs, self.batch_size, self.val_interval = epochs, batch_size, val_interval

    def loss_function(self, context: Context) -> Loss:
        """Return what takes logits and labels of shape (batch, channel, i, j, k) and returns a mean over the batch."""
        raise NotImplementedError

    def optimizer(self, context: Context) -> Optimizer:
        """Return the optimizer."""
        return AdamW(context.network.parameters(), lr=1e-3)

    def train_pre_transforms(self, context: Context) -> Transforms:
        """Return what is done to `{"image": file, "label": file}`; what is random is done anew in each epoch."""
        raise NotImplementedError

    def train_post_transforms(self, context: Context) -> Transforms:  # noqa: ARG002 - what overrides it may read
        """Return what an exported bundle does to `pred` in training; rounds are judged without it."""
        return []

    def val_pre_transforms(self, context: Context) -> Transforms:
        """Return what is done to a case that is judged; default: what is not random of the training's."""
        steps = self.train_pre_transforms(context)
        return [step for step in steps if not isinstance(step, Randomizable | RandomizableTrait)]

    def val_post_transforms(self, context: Context) -> Transforms:  # noqa: ARG002 - what overrides it may read
        """Return what an exported bundle does to `pred` in validation; rounds are judged without it."""
        return []

    def train_inferer(self, context: Context) -> Inferer:  # noqa: ARG002 - what overrides it may read
        """Return how the network is applied in a training step."""
        return SimpleInferer()

    def val_inferer(self, context: Context) -> Inferer:
        """Return how it is applied to a case that is judged; default: as in inference."""
        return context.infer.inferer()

    def key_metric(self) -> KeyMetric:
        """Return what a version is judged by; of classes it is the accuracy, whatever this says."""
        return "mean_dice"


class ScoringMethod:
    """Says of images what a strategy goes by, and keeps it with them: what takes long is done here, ahead of time.

    Attributes:
        description: A sentence for who chooses one.
    """

    description: str = ""

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> Mapping[str, Mapping[str, Any]] | None:
        """Say something of images by `datastore.update_image_info`; what is returned is for whoever calls it.

        Args:
            request: What its caller wants; empty when scores are refreshed.
            datastore: The images.
        """
        raise NotImplementedError


class Strategy:
    """Chooses the next image to label. It is asked ahead of time, again and again, and its order is kept as scores.

    Attributes:
        description: A sentence for who chooses one.
        per_request: Ask it when somebody wants an image instead. It has two seconds; after them any image is given.
    """

    description: str = ""
    per_request: bool = False

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> str | None:
        """Return one of `datastore.get_unlabeled_images()`, in which those chosen before are not; None ends the order.

        Args:
            request: What its caller wants; empty when scores are refreshed.
            datastore: The images.
        """
        raise NotImplementedError


class App:
    """What ties models, trainings, strategies and scoring methods together.

    A file `app.py` at the top of the app's folder defines one, and names it: `app = MyApp`.

    Args:
        app_dir: The app's folder, read-only.
        conf: What `--conf` says, by key.

    Attributes:
        description: A sentence for who chooses an app.
        version: Of its code.
        keys: Keys of `--conf` that it takes besides `KEYS`, each with a sentence.
    """

    description: str = ""
    version: str = "0.1.0"
    keys: Mapping[str, str] = {}

    def __init__(self, app_dir: Path, conf: Mapping[str, str]) -> None:
        self.app_dir, self.conf = app_dir, conf

    def init_infers(self) -> Mapping[str, InferTask | BundleTask]:
        """Return the models by name."""
        raise NotImplementedError

    def init_trainers(self) -> Mapping[str, TrainTask]:
        """Return how models learn, each by the name of its model; one without only infers."""
        return {}

    def init_strategies(self) -> Mapping[str, Strategy]:
        """Return orders of images by name; an experiment calls them `app:NAME`."""
        return {}

    def init_scoring_methods(self) -> Mapping[str, ScoringMethod]:
        """Return scoring methods by name; all of them run before a strategy is asked."""
        return {}
