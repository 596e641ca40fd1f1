"""An app in the form of MONAI Label's guide to writing one, for Teachback's interfaces."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.inferers import Inferer, SlidingWindowInferer
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    SpatialPadd,
    ToNumpyd,
    ToTensord,
)
from torch import nn

from tasks.compute.apps.interfaces import App, Context, InferTask, Loss, TrainTask

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


class MyApp(App):
    """A model that learns."""

    def init_infers(self) -> Mapping[str, InferTask]:
        return {"segmentation_spleen": MyInfer(_unet, labels=["spleen"])}

    def init_trainers(self) -> Mapping[str, TrainTask]:
        return {"segmentation_spleen": MyTrainTask(epochs=20)}


def _unet(outputs: int) -> nn.Module:
    network: nn.Module = UNet(3, in_channels=1, out_channels=outputs, channels=(8, 16), strides=(2,))
    return network


app = MyApp
