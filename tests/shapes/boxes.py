"""A detector with what the model zoo's brings, small enough for a processor: its code and its configurations."""

from typing import Any

SCRIPTS = '''
"""A detector with what the zoo's brings: features, inferer, trainer, evaluator and metric."""

import torch
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.apps.detection.networks import retinanet_detector
from monai.data.box_utils import box_iou
from monai.engines import SupervisedEvaluator, Trainer
from monai.engines.utils import IterationEvents
from monai.handlers import from_engine
from monai.inferers import Inferer
from ignite.metrics import Metric
from torch import nn

# Without torchvision MONAI's detector fails to ask whether its matcher is torchvision's.
retinanet_detector.Matcher = retinanet_detector.BalancedPositiveNegativeSampler = type("Absent", (), {})


class Features(nn.Module):
    """Feature maps of half the image's size."""

    def __init__(self, out_channels):
        super().__init__()
        self.out_channels = out_channels
        first = nn.Conv3d(1, out_channels, 3, stride=2, padding=1)
        self.steps = nn.Sequential(first, nn.ReLU(), nn.Conv3d(out_channels, out_channels, 3, padding=1), nn.ReLU())

    def forward(self, image):
        return [self.steps(image)]


class DetectorInferer(Inferer):
    """Gives a list of images to the detector."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector
        self.ready = detector.box_selector.score_thresh

    def __call__(self, inputs, network, *args, **kwargs):
        self.detector.network = network
        self.detector.training = network.training
        return self.detector(inputs, use_inferer=False)


def _batch(items, device=None, non_blocking=False, **kwargs):
    flat = [one for item in items for one in (item if isinstance(item, list) else [item])]
    images = [item["image"].to(device) for item in flat]
    return images, [{key: item[key].to(device) for key in ("box", "label")} for item in flat]


class DetectionTrainer(Trainer):
    """The loss is the detector's."""

    def __init__(self, device, max_epochs, train_data_loader, detector, optimizer, train_handlers, amp):
        handlers = {"handlers": train_handlers, "prepare_batch": _batch, "amp": amp}
        super().__init__(device=device, max_epochs=max_epochs, data_loader=train_data_loader, **handlers)
        self.detector, self.optimizer = detector, optimizer

    def _iteration(self, engine, batch):
        images, targets = engine.prepare_batch(batch, engine.state.device)
        engine.detector.train()
        engine.optimizer.zero_grad()
        answer = engine.detector(images, targets)
        loss = answer[engine.detector.cls_key] + answer[engine.detector.box_reg_key]
        loss.backward()
        engine.optimizer.step()
        return {"image": images, "label": targets, "loss": loss}


class DetectionEvaluator(SupervisedEvaluator):
    """Its batches are lists."""

    def __init__(self, **kwargs):
        super().__init__(prepare_batch=_batch, **kwargs)

    def _register_decollate(self):
        @self.on(IterationEvents.MODEL_COMPLETED)
        def listed(engine):
            output = {key: value for key, value in engine.state.output.items() if value is not None}
            count = len(output["image"])
            engine.state.output = [{key: value[n] for key, value in output.items()} for n in range(count)]


class Coco(Metric):
    """Mean average precision over all cases."""

    def __init__(self, output_transform):
        self.metric = COCOMetric(classes=["nodule"], iou_list=[0.1], max_detection=[100])
        super().__init__(output_transform)

    def reset(self):
        self.found, self.truth = [], []

    def update(self, output):
        found, truth = output
        self.found += [{key: value.detach().cpu().numpy() for key, value in one.items()} for one in found]
        self.truth += [{key: value.detach().cpu().numpy() for key, value in one.items()} for one in truth]

    def compute(self):
        matched = matching_batch(
            iou_fn=box_iou,
            iou_thresholds=self.metric.iou_thresholds,
            pred_boxes=[one["box"] for one in self.found],
            pred_classes=[one["label"] for one in self.found],
            pred_scores=[one["label_scores"] for one in self.found],
            gt_boxes=[one["box"] for one in self.truth],
            gt_classes=[one["label"] for one in self.truth],
        )
        return sum(self.metric(matched)[0].values()) / len(self.metric(matched)[0])
'''
DETECTOR: dict[str, Any] = {
    "bundle_root": ".",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "anchor_generator": {
        "_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
        "feature_map_scales": [1],
        "base_anchor_shapes": [[6, 6, 6]],
    },
    "network_def": {
        "_target_": "RetinaNet",
        "spatial_dims": 3,
        "num_classes": 1,
        "num_anchors": 1,
        "feature_extractor": {"_target_": "scripts.detection.Features", "out_channels": 8},
        "size_divisible": [2, 2, 2],
    },
    "network": "$@network_def.to(@device)",
    "detector": {"_target_": "RetinaNetDetector", "network": "@network", "anchor_generator": "@anchor_generator"},
    "detector_ops": [
        "$@detector.set_atss_matcher(num_candidates=4, center_in_gt=False)",
        "$@detector.set_hard_negative_sampler(batch_size_per_image=32,positive_fraction=0.3,pool_size=20,min_neg=8)",
        "$@detector.set_target_keys(box_key='box', label_key='label')",
        "$@detector.set_box_selector_parameters(score_thresh=0.05,nms_thresh=0.2,detections_per_img=20)",
    ],
}
_BOXES = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "ScaleIntensityd", "keys": "image"},
    {"_target_": "EnsureTyped", "keys": ["image", "box"]},
    {"_target_": "EnsureTyped", "keys": "label", "dtype": "$torch.long"},
    {"_target_": "ConvertBoxToStandardModed", "box_keys": "box", "mode": "cccwhd"},
    {
        "_target_": "AffineBoxToImageCoordinated",
        "box_keys": "box",
        "box_ref_image_keys": "image",
        "affine_lps_to_ras": True,
    },
]
_LISTS = {"batch_size": 1, "num_workers": 2, "collate_fn": "$monai.data.utils.no_collation"}
TRAINING: dict[str, Any] = {
    "epochs": 2,
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@detector.network.parameters()", "lr": 0.005},
    "train": {
        "preprocessing": {"_target_": "Compose", "transforms": _BOXES},
        "dataset": {"_target_": "Dataset", "data": "$[{}]", "transform": "@train#preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "shuffle": True, **_LISTS},
        "handlers": [{"_target_": "ValidationHandler", "validator": "@validate#evaluator", "interval": 5}],
        "trainer": {
            "_target_": "scripts.detection.DetectionTrainer",
            "_requires_": "@detector_ops",
            "max_epochs": "@epochs",
            "device": "@device",
            "train_data_loader": "@train#dataloader",
            "detector": "@detector",
            "optimizer": "@optimizer",
            "train_handlers": "@train#handlers",
            "amp": False,
        },
    },
    "validate": {
        "preprocessing": {"_target_": "Compose", "transforms": _BOXES},
        "dataset": {"_target_": "Dataset", "data": "$[{}]", "transform": "@validate#preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset", **_LISTS},
        "inferer": {"_target_": "scripts.detection.DetectorInferer", "detector": "@detector"},
        "key_metric": {
            "val_coco": {
                "_target_": "scripts.detection.Coco",
                "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
            }
        },
        "evaluator": {
            "_target_": "scripts.detection.DetectionEvaluator",
            "_requires_": "@detector_ops",
            "device": "@device",
            "val_data_loader": "@validate#dataloader",
            "network": "@network",
            "inferer": "@validate#inferer",
            "key_val_metric": "@validate#key_metric",
            "amp": False,
        },
    },
}
