"""An app in the form of MONAI Label's guide to writing one, for Teachback's interfaces."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImage,
    LoadImaged,
    NormalizeIntensityd,
    SpatialPadd,
    ToNumpyd,
    ToTensord,
)
from torch import nn

from tasks.compute.apps.interfaces import App, Context, Datastore, InferTask, Loss, ScoringMethod, Strategy, TrainTask

PATCH = (16, 16, 16)
Steps = Sequence[Callable[[Any], Any]]


class MyInfer(InferTask):
    """Before, with, and after the network."""

    def pre_transforms(self, data: Mapping[str, Any] | None = None) -> Steps:
        del data
        return [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            NormalizeIntensityd(keys="image"),
            ToNumpyd(keys="image"),
        ]

    def inferer(self, data: Mapping[str, Any] | None = None) -> Inferer:
        del data
        return SlidingWindowInferer(roi_size=PATCH)

    def post_transforms(self, data: Mapping[str, Any] | None = None) -> Steps:
        del data
        return [
            Activationsd(keys="pred", sigmoid=True),
            AsDiscreted(keys="pred", threshold=0.5),
            ToNumpyd(keys="pred"),
        ]


class MyTrainTask(TrainTask):
    """Loss, transforms and inferer; the rest is as it is without them."""

    def loss_function(self, context: Context) -> Loss:
        del context
        loss: Loss = DiceLoss(sigmoid=True, squared_pred=True)
        return loss

    def train_pre_transforms(self, context: Context) -> Steps:
        del context
        both = ("image", "label")
        return [
            LoadImaged(keys=both),
            EnsureChannelFirstd(keys=both),
            NormalizeIntensityd(keys="image"),
            CropForegroundd(keys=both, source_key="label", margin=4),
            SpatialPadd(keys=both, spatial_size=PATCH),
        ]

    def train_post_transforms(self, context: Context) -> Steps:
        del context
        return [Activationsd(keys="pred", sigmoid=True), AsDiscreted(keys="pred", threshold=0.5)]

    def val_pre_transforms(self, context: Context) -> Steps:
        del context
        both = ("image", "label")
        return [
            LoadImaged(keys=both),
            EnsureChannelFirstd(keys=both),
            NormalizeIntensityd(keys="image"),
            ToTensord(keys=both),
        ]

    def train_inferer(self, context: Context) -> Inferer:
        del context
        return SlidingWindowInferer(roi_size=PATCH)

    def val_inferer(self, context: Context) -> Inferer:
        del context
        return SlidingWindowInferer(roi_size=PATCH)


class MyScoreGeneratorMethod(ScoringMethod):
    """Has a model of its own say how useful each image would be, and does so once per state of that model."""

    description = "What the scoring model says"

    def __init__(self, model: Path) -> None:
        self.scoring_model_path = model

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> Mapping[str, Mapping[str, Any]]:
        del request
        result = {}
        timestamp = int(self.scoring_model_path.stat().st_mtime)
        scoring_model = torch.jit.load(self.scoring_model_path).eval()  # type: ignore[no-untyped-call]  # PyTorch's
        load = LoadImage(image_only=True)
        for image_id in datastore.get_unlabeled_images():
            # If the timestamps match there is no need to compute the score again.
            if datastore.get_image_info(image_id).get("my_score_timestamp", 0) == timestamp:
                continue
            with torch.no_grad():
                my_score = float(scoring_model(load(datastore.get_image_uri(image_id)).as_tensor()))
            info = {"my_score": my_score, "my_score_timestamp": timestamp}
            datastore.update_image_info(image_id, info)
            result[image_id] = info
        return result


class SelectImageWithMyScore(Strategy):
    """The unlabelled image with the highest score; any while there are none."""

    description = "By what the scoring model says"

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> str | None:
        del request
        images = datastore.get_unlabeled_images()
        if not images:
            return None
        my_scores = {image: datastore.get_image_info(image).get("my_score", 0) for image in images}
        if sum(my_scores.values()) == 0:
            return random.choice(images)
        return max(my_scores, key=lambda image: my_scores[image])


class MyApp(App):
    """A model that learns, and an order of images that a model of its own gives."""

    def init_infers(self) -> Mapping[str, InferTask]:
        return {"segmentation_spleen": MyInfer(_unet, labels=["spleen"])}

    def init_trainers(self) -> Mapping[str, TrainTask]:
        return {"segmentation_spleen": MyTrainTask(epochs=20)}

    def init_strategies(self) -> Mapping[str, Strategy]:
        return {"my_score": SelectImageWithMyScore()}

    def init_scoring_methods(self) -> Mapping[str, ScoringMethod]:
        return {"my_scoring_method": MyScoreGeneratorMethod(self.app_dir / "scoring_model.pt")}


def _unet(outputs: int) -> nn.Module:
    network: nn.Module = UNet(3, in_channels=1, out_channels=outputs, channels=(8, 16), strides=(2,))
    return network


app = MyApp
