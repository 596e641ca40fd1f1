"""The one Lightning module: any network, any loss; it builds none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ParallelStrategy, Strategy
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from configs.kinds import UNLABELLED
from tasks.compute.failures import (
    BundleFaultError,
    NotFiniteError,
    OutOfMemoryError,
    UnreadableError,
    answering,
    is_memory,
)
from tasks.compute.inference.decide import masks, spread, target_mask
from tasks.compute.inference.slabs import MOST_VALUES, Part, halves, in_slabs, needs_slabs
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.network import first_tensor
from tasks.compute.loader.pipeline import CASE, DRAWN, LABEL
from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import mean
from tasks.compute.metrics.key_metric import fallback_of
from tasks.compute.training.batches import Batch, alone, pieces, size_of
from tasks.compute.training.masking import mask_logits
from tasks.compute.training.team import Team

_FINE, _FAILS, _TOO_LARGE, _TOO_LARGE_ALONE, _NOT_FINITE = range(5)


class Segmenter(LightningModule):  # type: ignore[misc]  # Lightning's types are not read
    """Fits a network to label maps.

    A step goes through the network at once, or in parts whose gradients add up to the same: when memory does not
    suffice the parts are halved, for this and all later steps, and the step is repeated. A case on which the network
    fails is left out, and so is its step where there is no other in it.

    Args:
        network: Maps (batch, channel, i, j, k) images to logits, one channel per class.
        channels: What the logits' channels stand for.
        loss: Takes logits and label maps of shape (batch, 1, i, j, k), returns a scalar, a mean over the batch.
        inferers: How a network is applied to a training and to a validation image.
        image_key: Name of the image in a batch.
        cases: Ids of the training cases.
        seed: Of the training.
        team: The processes that train.

    Attributes:
        most_values: Logits of a validation case that are held at once; larger answers are counted in slabs.
    """

    most_values = MOST_VALUES

    def __init__(
        self,
        network: nn.Module,
        channels: Channels,
        *,
        loss: Callable[[Any, Tensor], Tensor],
        inferers: tuple[Inferer, Inferer],
        image_key: str,
        cases: Sequence[str] = (),
        seed: int = 0,
        team: Team | None = None,
    ) -> None:
        super().__init__()
        # A step that does not fit is repeated in halves, which Lightning's own loop does not do.
        self.automatic_optimization = False
        self.network = network
        self.channels = channels
        self.overlap = fallback_of(channels.kind).overlap
        self.loss = loss
        self.train_inferer, self.validate_inferer = inferers
        self.image_key = image_key
        self.cases = cases
        self.seed = seed
        self.team = team or Team()
        self.optimizer: Optimizer | None = None
        self.scheduler: LRScheduler | None = None
        self.at_once: int | None = None
        self.left_out: list[str] = []
        self.judged: Sequence[str] = ()
        self.shares_validation = False
        self.last_mean: float | None = None
        self.last_per_label: dict[str, float | None] = {}
        self._values: dict[str, list[float | None]] = {}

    def training_step(self, batch: list[Batch], index: int) -> dict[str, Tensor]:
        """Take one optimizer step; return its loss, nothing where the network failed on all of it.

        Raises:
            NotFiniteError: If the loss is NaN or infinite.
            OutOfMemoryError: If memory does not suffice for one item at a time.
            BundleFaultError: If the network fails, and on no item by itself.
        """
        optimizer, looked_at = self.optimizers(), False
        while True:
            size = size_of(batch)
            part = min(size, self.at_once or size)
            loss, fault = self._backward(batch, part)
            # Agreed upon first: a rank that went on alone would wait for ever in the next all-reduce.
            fault = self.team.most(fault, self.device)
            if fault == _FINE:
                break
            optimizer.zero_grad()
            if fault == _NOT_FINITE:
                raise NotFiniteError(self._not_finite(batch, index))
            if fault == _TOO_LARGE_ALONE:
                raise OutOfMemoryError(_too_large("Training", self.device, batch[0][self.image_key], size))
            if fault == _FAILS and looked_at:
                raise BundleFaultError("The bundle's network fails on no item by itself; the host's log says where")
            if fault == _FAILS:
                batch, looked_at = self._without_failing(batch), True
                continue
            self.at_once = max(1, part // 2)
            if self.device.type == "cuda":
                # What the larger try has left is in pieces of its own size.
                torch.cuda.empty_cache()
        self.team.average(self.network.parameters())
        optimizer.step()
        optimizer.zero_grad()
        return {"loss": loss} if batch else {}

    def _backward(self, batch: list[Batch], part: int) -> tuple[Tensor, int]:
        """Add up the gradients of a batch, *part* items at a time; return its loss and what went wrong."""
        size = size_of(batch)
        total = torch.zeros((), device=self.device)
        try:
            with _unshared(self.trainer.strategy):
                for stack, piece in pieces(batch, part):
                    # The loss is a mean over its items: weighted so, the parts' gradients add up to the whole batch's.
                    with answering():
                        loss = self.loss_of(stack, piece) * ((piece.stop - piece.start) / size)
                    if not bool(torch.isfinite(loss)):
                        return total, _NOT_FINITE
                    self.manual_backward(loss)
                    total += loss.detach()
        except UnreadableError:
            return total, _FAILS
        except (RuntimeError, MemoryError) as error:
            if not is_memory(error):
                raise
            return total, _TOO_LARGE if part > 1 else _TOO_LARGE_ALONE
        return total, _FINE

    def _without_failing(self, batch: list[Batch]) -> list[Batch]:
        """Return the items on which the network does not fail by themselves; their cases are left out from now on."""
        kept, failing = list[Batch](), list[str]()
        for one in alone(batch):
            try:
                with answering():
                    self.loss_of(one)
            except UnreadableError:
                failing.append(self.cases[int(one[CASE][0])])
            except (RuntimeError, MemoryError):
                kept.append(one)  # too large: the step finds that out, and what to do
            else:
                kept.append(one)
        self.left_out += [case for case in dict.fromkeys(failing) if case not in self.left_out]
        return kept

    def loss_of(self, batch: Batch, piece: slice = slice(None)) -> Tensor:
        """Return the loss of the items of a stack, of what their annotators drew."""
        image, label = _plain(batch[self.image_key])[piece], _plain(batch[LABEL])[piece]
        return self.judge(image, label, batch[DRAWN][piece])

    def judge(self, image: Tensor, label: Tensor, drawn: Tensor) -> Tensor:
        """Return the loss of items, a mean over them; *drawn* of shape (batch, channel) says what they speak about."""
        answer, exclusive = self.train_inferer(image, self.network), self.channels.exclusive
        if isinstance(answer, Tensor):
            answer = mask_logits(answer, drawn, exclusive=exclusive)
        else:
            answer = [mask_logits(head, drawn, exclusive=exclusive) for head in answer]
        return self.loss(answer, spread(label, self.channels))

    def _not_finite(self, batch: list[Batch], index: int) -> str:
        numbers = [int(case) for stack in batch for case in stack[CASE]]
        ids = dict.fromkeys(self.cases[number] for number in numbers if number < len(self.cases))
        return (
            f"The loss was not finite in epoch {self.current_epoch + 1}, step {index + 1}, of the case(s)"
            f" {', '.join(ids)}: look at these images and labels, lower learning_rate, or use precision 32-true"
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._values = {name: [] for name in self.channels.foreground.values()}

    def validation_step(self, batch: Batch, index: int) -> None:
        """Note each label's Dice on one case, on the preprocessed grid, or whether its class was told.

        Of a case that is left out there is nothing.
        """
        if not batch:
            return
        image, label = _plain(batch[self.image_key]), _plain(batch[LABEL])
        try:
            counted = self._counted(image, label[(0, 0) if self.channels.kind == "mask" else 0], batch[DRAWN][0])
        except UnreadableError:
            self.left_out.append(self.judged[index])
            return
        for channel, counts in counted.items():
            self._values[self.channels.names[channel]].append(self.overlap(counts))

    def _counted(self, image: Tensor, label: Tensor, drawn: Tensor) -> dict[int, Counts]:
        """Count what was drawn of a case; where memory does not suffice, fewer windows at a time from now on."""
        while True:
            try:
                return self._count(image, label, drawn)
            except (RuntimeError, MemoryError) as error:
                windows = getattr(self.validate_inferer, "sw_batch_size", 1)
                if not is_memory(error):
                    raise
                if windows <= 1:
                    raise OutOfMemoryError(_too_large("Validation", self.device, image, 1)) from None
            self.validate_inferer.sw_batch_size = windows // 2

    def _count(self, image: Tensor, label: Tensor, drawn: Tensor) -> dict[int, Counts]:
        """Return the voxels of each channel that was drawn, in the label and in the answer.

        Args:
            image: Shape (1, channel, i, j, k).
            label: What the answer has to be, shape (i, j, k); of an image's class a single number.
            drawn: Truth value per channel.
        """
        counted = {channel: Counts() for channel in self.channels.foreground if bool(drawn[channel])}
        for part in self._answers(image):
            truth = part.of(label)
            looked = truth != UNLABELLED
            for channel, mask in masks(part.logits, self.channels).items():
                if channel in counted:
                    reference = target_mask(truth, channel, self.channels)
                    counted[channel] += Counts.of(reference, mask & looked)
        return counted

    def _answers(self, image: Tensor) -> Iterator[Part]:
        """Yield the network's answer to an image, in slabs where all of it would be too large to be held."""
        inferer = self.validate_inferer
        with answering():
            if needs_slabs(inferer, image, self.channels, self.most_values):
                look, tell = halves(self.network)
                yield from in_slabs(inferer, image, look, tell, self.channels, most=self.most_values)
            else:
                yield Part(first_tensor(inferer(image, self.network))[0])

    def on_validation_epoch_end(self) -> None:
        """Average over cases, then over labels; a case has one class, so that the mean over all is the accuracy."""
        parts = self.team.all_of(self._values) if self.shares_validation else [self._values]
        values = {name: [value for part in parts for value in part[name]] for name in self._values}
        self.last_per_label = {name: mean(found) for name, found in values.items()}
        every = [value for found in values.values() for value in found]
        self.last_mean = mean(every if self.channels.kind == "class" else list(self.last_per_label.values()))

    def end_epoch(self) -> None:
        """Let the scheduler take its step, once an epoch."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if self.last_mean is not None:
                self.scheduler.step(self.last_mean if self.scheduler.mode == "max" else 1 - self.last_mean)
        elif self.scheduler is not None:
            self.scheduler.step()

    def configure_optimizers(self) -> Any:
        """Return the bundle's optimizer."""
        return self.optimizer


def _unshared(strategy: Strategy) -> AbstractContextManager[None]:
    """Keep gradients to this rank: all ranks average them once they know that each has some."""
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


def _too_large(what: str, device: torch.device, image: Tensor, batch: int) -> str:
    one = " x ".join(str(extent) for extent in image.shape[1:])
    return (
        f"{what} does not fit into the memory of {device.type}: not even one item of {one} (the batch has {batch}) at a"
        " time. Choose smaller patches, or a device with more memory"
    )


def _plain(value: Tensor) -> Tensor:
    """Return a MetaTensor's data alone: its bookkeeping costs more than a small convolution."""
    return value.as_tensor() if hasattr(value, "as_tensor") else value
