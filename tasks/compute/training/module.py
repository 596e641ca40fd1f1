"""The one Lightning module: any network, any loss; it builds none."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tasks.compute.failures import NotFiniteError
from tasks.compute.inference.decide import masks, target_mask
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.network import first_tensor
from tasks.compute.loader.pipeline import DRAWN, LABEL
from tasks.compute.metrics.dice import dice, mean
from tasks.compute.training.masking import mask_logits


class Segmenter(LightningModule):  # type: ignore[misc]  # Lightning's types are not read
    """Fits a network to label maps.

    Args:
        network: Maps (batch, channel, i, j, k) images to logits, one channel per class.
        channels: What the logits' channels stand for.
        loss: Takes logits and label maps of shape (batch, 1, i, j, k), returns a scalar.
        inferers: How a network is applied to a training and to a validation image.
        image_key: Name of the image in a batch.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: Channels,
        *,
        loss: Callable[[Any, Tensor], Tensor],
        inferers: tuple[Inferer, Inferer],
        image_key: str,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.loss = loss
        self.train_inferer, self.validate_inferer = inferers
        self.image_key = image_key
        self.optimizer: Optimizer | None = None
        self.scheduler: LRScheduler | None = None
        self.last_mean: float | None = None
        self.last_per_label: dict[str, float | None] = {}
        self._values: dict[str, list[float | None]] = {}

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            NotFiniteError: If it is NaN or infinite.
        """
        image, label = _plain(batch[self.image_key]), _plain(batch[LABEL])
        answer = self.train_inferer(image, self.network)
        drawn, exclusive = batch[DRAWN], self.channels.exclusive
        if isinstance(answer, Tensor):
            answer = mask_logits(answer, drawn, exclusive=exclusive)
        else:
            answer = [mask_logits(head, drawn, exclusive=exclusive) for head in answer]
        loss = self.loss(answer, label)
        if not bool(torch.isfinite(loss)):
            raise NotFiniteError(
                f"The loss became {float(loss)} at epoch {self.current_epoch}; lower learning_rate, or use"
                " precision 32-true"
            )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._values = {name: [] for name in self.channels.foreground.values()}

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Note each class's Dice on one case, on the preprocessed grid."""
        logits = first_tensor(self.validate_inferer(_plain(batch[self.image_key]), self.network))[0]
        label = _plain(batch[LABEL])[0, 0]
        drawn = batch[DRAWN][0]
        for channel, mask in masks(logits, self.channels).items():
            if bool(drawn[channel]):
                reference = target_mask(label, channel, self.channels)
                self._values[self.channels.names[channel]].append(dice(reference, mask))

    def on_validation_epoch_end(self) -> None:
        """Average over cases, then over classes."""
        self.last_per_label = {name: mean(values) for name, values in self._values.items()}
        self.last_mean = mean(list(self.last_per_label.values()))

    def configure_optimizers(self) -> Any:
        """Return the bundle's optimizer, and its scheduler stepped once an epoch."""
        if self.optimizer is None:
            return None
        if self.scheduler is None:
            return self.optimizer
        return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": self.scheduler, "interval": "epoch"}}


def _plain(value: Tensor) -> Tensor:
    """Return a MetaTensor's data alone: its bookkeeping costs more than a small convolution."""
    return value.as_tensor() if hasattr(value, "as_tensor") else value
