"""A bundle's detector: from a prepared image to boxes in the world, each with a class and how sure it is of it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.box_utils import clip_boxes_to_image
from torch import Tensor, nn

from configs.wire.answers import BoxesAnswer
from tasks.compute.boxes.places import in_world
from tasks.compute.failures import BundleFaultError, NotFiniteError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import DETECTOR, DETECTOR_OPS, INFERER, Config, device
from tasks.compute.share import give_way


class Detector:
    """What a bundle calls its `detector`, applied by its own inferer.

    Args:
        config: The inference configuration, from which the network was built too.
        channels: What the network's classes stand for.
    """

    def __init__(self, config: Config, channels: Channels) -> None:
        config.build(DETECTOR_OPS)  # they set the detector up; an inferer may ask how when it is made
        self._detector: Any = config.build(DETECTOR)
        self._inferer: Any = config.build(*INFERER)
        self._channels = channels

    def find(self, network: nn.Module, image: Tensor, *, between: Callable[[], None] | None = None) -> BoxesAnswer:
        """Return the boxes of the experiment's labels, the surest first.

        Args:
            network: Of one version.
            image: Prepared, shape (channel, i, j, k), with its affine.
            between: Called before it begins; others may run meanwhile.

        Raises:
            BundleFaultError: If the image lost its geometry, or what comes back is no list of boxes.
            NotFiniteError: If a number is NaN or infinite.
        """
        if not isinstance(image, MetaTensor):
            raise BundleFaultError("The bundle's preprocessing loses the image's geometry (no MetaTensor)")
        (between or give_way)()
        boxes, classes, scores = self._raw(network.eval(), image.as_tensor().to(device()))
        boxes, kept = clip_boxes_to_image(boxes, image.shape[1:], remove_empty=True)
        classes, scores = classes[kept], scores[kept]
        if not bool(torch.isfinite(boxes.sum()) & torch.isfinite(scores.sum())):
            raise NotFiniteError("The network's answer holds NaN or infinity")
        world = in_world(boxes.double().cpu().numpy(), np.asarray(image.affine, dtype=np.float64))
        labels = self._channels.labels
        known = self._channels.foreground
        found = [
            (float(score), labels[int(number)], tuple(box.tolist()))
            for box, number, score in zip(world, classes.tolist(), scores.tolist(), strict=True)
            if int(number) in known
        ]
        found.sort(key=lambda one: -one[0])
        return BoxesAnswer(
            boxes=[box for _, _, box in found],
            classes=[label for _, label, _ in found],
            scores=[min(max(score, 0.0), 1.0) for score, _, _ in found],
        )

    def _raw(self, network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes in voxels, classes and scores."""
        detector = self._detector
        with torch.inference_mode():
            detector.network = network
            detector.eval()
            answered = self._inferer([image], network) if self._inferer is not None else detector([image])
        try:
            (found,) = answered
            keys = detector.target_box_key, detector.target_label_key, detector.pred_score_key
            boxes, classes, scores = (found[key].float() for key in keys)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise BundleFaultError("The bundle's detector answers no list of boxes, labels and scores") from error
        return boxes.reshape(-1, 6), classes.flatten(), scores.flatten()


def undecided(answer: BoxesAnswer) -> float:
    """Return how undecided the least decided box is: the entropy of its score, 0..1; 0 if there is no box.

    Source:
        Brust, Käding, Denzler, "Active Learning for Deep Object Detection", VISAPP 2019, arXiv:1809.09875: of what
        each detection says, the maximum speaks for the image.
    """
    return max(map(_entropy, answer.scores), default=0.0)


def _entropy(chance: float) -> float:
    return -sum(part * math.log2(part) for part in (chance, 1 - chance) if part > 0)
