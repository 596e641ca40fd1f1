"""Segmentation of 3-D volumes by a small U-Net, which begins untrained and learns what you draw."""

from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    RandCropByPosNegLabeld,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Spacingd,
    SpatialPadd,
)
from torch.optim import AdamW

from tasks.compute.apps.interfaces import App, InferTask, TrainTask


def reading(keys, modes, spacing):
    """What is done to an image, and to its label alike."""
    return [
        LoadImaged(keys=keys),
        EnsureChannelFirstd(keys=keys),
        Orientationd(keys=keys, axcodes="RAS", labels=None),
        Spacingd(keys=keys, pixdim=[spacing] * 3, mode=modes),
        NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True),
        EnsureTyped(keys=keys),
    ]


class Segmentation(InferTask):
    def __init__(self, labels, spacing, patch):
        super().__init__(self.unet, labels=labels, spatial_shape=patch, description="A small 3-D U-Net")
        self.spacing, self.patch = spacing, patch

    def unet(self, outputs):
        return UNet(
            spatial_dims=3,
            in_channels=self.channels,
            out_channels=outputs,
            channels=(16, 32, 64, 64),
            strides=(2, 2, 2),
            norm="BATCH",
        )

    def pre_transforms(self, data=None):
        return reading("image", "bilinear", self.spacing)

    def inferer(self, data=None):
        return SlidingWindowInferer(roi_size=self.patch, sw_batch_size=2, overlap=0.25)

    def post_transforms(self, data=None):
        return [Activationsd(keys="pred", softmax=True), AsDiscreted(keys="pred", argmax=True)]


class SegmentationTraining(TrainTask):
    def loss_function(self, context):
        return DiceCELoss(to_onehot_y=True, softmax=True)

    def optimizer(self, context):
        return AdamW(context.network.parameters(), lr=5e-3)

    def train_pre_transforms(self, context):
        both, patch = ["image", "label"], context.infer.patch
        return [
            *self.val_pre_transforms(context),
            SpatialPadd(keys=both, spatial_size=patch),
            RandCropByPosNegLabeld(keys=both, label_key="label", spatial_size=patch, num_samples=2),
            RandScaleIntensityd(keys="image", factors=0.2, prob=0.5),
            RandShiftIntensityd(keys="image", offsets=0.2, prob=0.5),
        ]

    def val_pre_transforms(self, context):
        return reading(["image", "label"], ["bilinear", "nearest"], context.infer.spacing)


class Radiology(App):
    description = "Segmentation of 3-D volumes"
    keys = {
        "labels": "what is drawn, with commas",
        "spacing": "of the voxels that the network sees, in mm",
        "patch": "how many of them it sees at a time along each axis, a multiple of 8",
    }

    def init_infers(self):
        labels = [name.strip() for name in self.conf.get("labels", "liver,spleen").split(",") if name.strip()]
        spacing, patch = float(self.conf.get("spacing", "3")), int(self.conf.get("patch", "64"))
        return {"segmentation": Segmentation(labels, spacing, [patch] * 3)}

    def init_trainers(self):
        return {"segmentation": SegmentationTraining(epochs=24, batch_size=2)}


app = Radiology
