"""Pictures of an endoscope: where the tool is, and whether a picture shows the inside of the body."""

from monai.losses import DiceCELoss
from monai.networks.nets import SEResNet50, UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    NormalizeIntensityd,
    RandFlipd,
    RandScaleIntensityd,
    Resized,
)
from torch.nn import CrossEntropyLoss

from tasks.compute.apps.interfaces import App, InferTask, TrainTask


def reading(size):
    """What is done to a picture."""
    return [
        LoadImaged(keys="image"),
        EnsureChannelFirstd(keys="image", channel_dim=-1),
        Resized(keys="image", spatial_size=size, mode="bilinear"),
        NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True),
        EnsureTyped(keys="image"),
    ]


class Picture(InferTask):
    def pre_transforms(self, data=None):
        return reading(self.spatial_shape)


class ToolTracking(Picture):
    def __init__(self, size):
        super().__init__(self.unet, labels=["tool"], channels=3, spatial_shape=size, description="Where the tool is")

    def unet(self, outputs):
        return UNet(2, in_channels=3, out_channels=outputs, channels=(16, 32, 64, 128), strides=(2, 2, 2))

    def post_transforms(self, data=None):
        return [Activationsd(keys="pred", softmax=True), AsDiscreted(keys="pred", argmax=True)]


class ToolTrackingTraining(TrainTask):
    def loss_function(self, context):
        return DiceCELoss(to_onehot_y=True, softmax=True)

    def train_pre_transforms(self, context):
        both = ["image", "label"]
        return [
            *self.val_pre_transforms(context),
            RandFlipd(keys=both, spatial_axis=0, prob=0.5),
            RandFlipd(keys=both, spatial_axis=1, prob=0.5),
            RandScaleIntensityd(keys="image", factors=0.2, prob=0.5),
        ]

    def val_pre_transforms(self, context):
        size = context.infer.spatial_shape
        return [
            LoadImaged(keys="label"),
            EnsureChannelFirstd(keys="label"),
            Resized(keys="label", spatial_size=size, mode="nearest"),
            EnsureTyped(keys="label"),
            *reading(size),
        ]


class InBody(Picture):
    def __init__(self, size):
        labels = ["in body", "out body"]
        super().__init__(
            self.resnet,
            labels=labels,
            answers="class",
            channels=3,
            spatial_shape=size,
            description="Whether a picture shows the inside of the body",
        )

    def resnet(self, outputs):
        return SEResNet50(spatial_dims=2, in_channels=3, num_classes=outputs)

    def post_transforms(self, data=None):
        return [Activationsd(keys="pred", softmax=True)]


class InBodyTraining(TrainTask):
    def loss_function(self, context):
        return CrossEntropyLoss()

    def train_pre_transforms(self, context):
        return [
            *reading(context.infer.spatial_shape),
            RandFlipd(keys="image", spatial_axis=0, prob=0.5),
            RandFlipd(keys="image", spatial_axis=1, prob=0.5),
            RandScaleIntensityd(keys="image", factors=0.2, prob=0.5),
        ]


class Endoscopy(App):
    description = "Pictures of an endoscope"
    keys = {"size": "of the pictures that the networks see, in pixels along each side, a multiple of 8"}

    def init_infers(self):
        size = [int(self.conf.get("size", "256"))] * 2
        return {"tooltracking": ToolTracking(size), "inbody": InBody(size)}

    def init_trainers(self):
        return {"tooltracking": ToolTrackingTraining(batch_size=4), "inbody": InBodyTraining(batch_size=16)}


app = Endoscopy
