"""Listens to Lightning's loops: steps are counted and told, epochs kept, and training ends where that is asked."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tasks.compute.share import give_way
from tasks.compute.training import checkpoint
from tasks.compute.training.module import Segmenter
from tasks.compute.training.pace import LeftError, Pace, Wish
from tasks.compute.training.team import Team

_MEASURED = {"mask": ("val_mean_dice", "val_dice"), "class": ("val_accuracy", "val_recall")}


class Reporter(Callback):  # type: ignore[misc]  # Lightning's types are not read
    """Watches one training run, in every rank of it; the rank that leads speaks and writes.

    Args:
        pace: Of this training.
        team: The ranks.
        epoch_steps: Steps of a whole epoch.
    """

    def __init__(self, pace: Pace, team: Team, epoch_steps: int) -> None:
        self._pace, self._team, self._epoch_steps = pace, team, epoch_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Start the clock."""
        self._pace.begin()

    def on_train_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: LightningModule,
        batch: Any,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,  # noqa: ARG002 (Lightning's signature)
    ) -> None:
        """Give dropout a seed of this step, so that a resumed run repeats it."""
        if isinstance(pl_module, Segmenter):
            step = pl_module.seed * 1_000_003 + self._pace.state.steps
            _seed(step * self._team.ranks + self._team.rank, pl_module.device)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """Count the step; report; obey."""
        last, state = batch_idx + 1 >= trainer.num_training_batches, self._pace.state
        self._pace.step()
        state.drawn = 0 if last else state.drawn + trainer.train_dataloader.batch_size * self._team.ranks
        self._note_batch(pl_module)
        if self._team.leads:
            loss = float(outputs["loss"]) if "loss" in outputs else None
            self._pace.report(loss, epoch_steps=self._epoch_steps, last=last)
        give_way()
        if not last:  # else the epoch ends first
            self._pace.obey(self._agreed(trainer), lambda: self.keep(pl_module))

    def on_validation_batch_end(self, *_: Any) -> None:
        """Let live requests through between two cases."""
        give_way()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep a checkpoint; by now the epoch has been validated."""
        state = self._pace.state
        state.epoch, state.drawn = state.epoch + 1, 0
        if isinstance(pl_module, Segmenter):
            pl_module.end_epoch()
        self.keep(pl_module)
        wish = self._agreed(trainer)
        if wish >= Wish.LEAVE:
            raise LeftError
        trainer.should_stop = self._pace.tired or wish == Wish.ENOUGH

    def keep(self, module: LightningModule) -> None:
        """Write a checkpoint of this moment and tell of it."""
        if self._team.leads and isinstance(module, Segmenter):
            checkpoint.fill(self._pace.state, module.network, module.optimizer, module.scheduler)
            self._pace.keep()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Tell the metric and remember the best network."""
        if not isinstance(pl_module, Segmenter) or pl_module.last_mean is None:
            return
        if self._team.leads:
            over_all, of_one = _MEASURED[pl_module.channels.kind]
            self._pace.tell(over_all, pl_module.last_mean)
            for name, one in pl_module.last_per_label.items():
                if one is not None:
                    self._pace.tell(of_one, one, name)
        self._pace.judged(pl_module.last_mean, pl_module.network)

    def _note_batch(self, module: LightningModule) -> None:
        """Tell that fewer items go through the network at a time."""
        state = self._pace.state
        if not isinstance(module, Segmenter) or module.at_once == state.at_once:
            return
        state.at_once = module.at_once
        if self._team.leads and module.at_once is not None:
            self._pace.tell("batch_at_once", module.at_once)

    def _agreed(self, trainer: Trainer) -> int:
        """Return what all ranks do next: the one that leads says."""
        return self._team.most(self._pace.wish() if self._team.leads else Wish.GO_ON, trainer.strategy.root_device)


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generators that a step on *device* draws from: on a processor one, not those of every accelerator."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
