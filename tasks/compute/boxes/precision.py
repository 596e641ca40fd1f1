"""How well boxes were found: average precision as COCO has it, of one case."""

import numpy as np
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou

from configs.kinds import BoxesLabel
from configs.wire.answers import BoxesAnswer

METRIC = "mean_average_precision"
# COCO's own bound, by which published figures are made.
_MOST = 100


def average_precision(found: BoxesAnswer, truth: BoxesLabel, index: int) -> float | None:
    """Return the average precision of one label, a mean over overlaps (IoU) from 0.1 to 0.5; 0..1.

    None where the case has no box of the label, as in COCO: what is found there counts nothing.

    Source:
        MONAI's COCOMetric, at the overlaps by which small objects in volumes are judged: Baumgartner et al.,
        "nnDetection", MICCAI 2021, arXiv:2106.00817.
    """
    wanted = np.array([box for box, own in zip(truth.boxes, truth.classes, strict=True) if own == index])
    if not len(wanted):
        return None
    chosen = [number for number, own in enumerate(found.classes) if own == index]
    metric = COCOMetric(classes=["one"], per_class=False, max_detection=(_MOST,))
    matched = matching_batch(
        iou_fn=box_iou,
        iou_thresholds=metric.iou_thresholds,
        pred_boxes=[np.array([found.boxes[number] for number in chosen]).reshape(-1, 6)],
        pred_classes=[np.zeros(len(chosen), dtype=int)],
        pred_scores=[np.array([found.scores[number] for number in chosen])],
        gt_boxes=[wanted],
        gt_classes=[np.zeros(len(wanted), dtype=int)],
        max_detections=_MOST,
    )
    values, _ = metric(matched)
    return min(1.0, max(0.0, next(float(value) for name, value in values.items() if name.startswith("mAP"))))
