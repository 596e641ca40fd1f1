"""Fine-tune a bundle on labelled cases."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch
from lightning.pytorch import Trainer
from monai.data import list_data_collate
from monai.inferers import Inferer, SimpleInferer
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from configs.wire.host import Case, HostCommand, Ready, TrainRequest, TrainResult
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.config import Bundle, Config, check_overrides
from tasks.compute.loader.metadata import Metadata
from tasks.compute.loader.network import build_network
from tasks.compute.loader.pipeline import CaseDataset, Pipeline, no_case_left
from tasks.compute.loader.tier import tier_of
from tasks.compute.own import run as own
from tasks.compute.prompts.learner import PromptLearner, sampler_of
from tasks.compute.prompts.network import Prompted
from tasks.compute.training import checkpoint
from tasks.compute.training.batches import collate
from tasks.compute.training.checkpoint import TrainingState
from tasks.compute.training.module import Segmenter
from tasks.compute.training.order import EpochOrder
from tasks.compute.training.pace import Bounds, EnoughError, LeftError, Pace, Speaker
from tasks.compute.training.ranks import ranks_for, start_others, strategy, take_place
from tasks.compute.training.reporter import Reporter
from tasks.compute.training.team import Team

_DEFAULT_EPOCHS = 20


def run(request: TrainRequest, control: Control) -> None:
    """Answer a training request."""
    commands: SimpleQueue[HostCommand] = SimpleQueue()
    # Before anything that takes long: without a parent nobody wants what is being loaded.
    Thread(target=_listen, args=(control, commands), daemon=True).start()
    control.say(Ready())
    ranks = ranks_for(request.spec.num_gpu)
    port = start_others(request, ranks, control) if ranks > 1 else 0
    train(request, control, commands, Team(0, ranks), port)


def train(request: TrainRequest, control: Speaker, commands: "SimpleQueue[HostCommand]", team: Team, port: int) -> None:
    """Train as one rank.

    Raises:
        BundleFaultError: If the bundle cannot be trained, by Lightning or by itself.
        BadInputError: If the request does not fit it, or this machine.
        NotFiniteError: If the loss or the weights become NaN or infinite.
        OutOfMemoryError: If memory does not suffice for one item at a time.
    """
    take_place(team)
    bundle = Bundle(Path(request.bundle))
    overrides = request.spec.overrides
    # What a bundle may be told is worked out for those who tell it something: it takes as long as a step.
    files = request.spec.config_file
    config = bundle.training(check_overrides(overrides, bundle.training_keys(files)) if overrides else None, files)
    tier, reason = tier_of(config)
    if tier == "B":
        own.train(request, control, commands, overrides)
        return
    if config is None or tier == "C":
        raise BundleFaultError(f"This bundle cannot be fine-tuned here (tier {tier}): {reason}")
    Training(request, bundle, config, control, commands, (team, port)).run()


class Training:
    """One training run: everything that the bundle says, put together once."""

    def __init__(
        self,
        request: TrainRequest,
        bundle: Bundle,
        config: Config,
        control: Speaker,
        commands: "SimpleQueue[HostCommand]",
        place: tuple[Team, int],
    ) -> None:
        self._request = request
        self._spec = request.spec
        self._config = config
        self._control = control
        self._commands = commands
        self._team, self._port = place
        self._seed = request.seed + request.spec.seed
        self._precision = precision_of(self._spec.precision)
        start = Path(request.weights) if request.weights else None
        network, self._channels = build_network(bundle, config, labels=request.labels, weights=start, seed=self._seed)
        image_key = bundle.metadata.image_key
        sides = {"train": "n_train_samples", "validate": "n_val_samples"}
        self._cases = {side: _cases(request, side, config.raw(most)) for side, most in sides.items()}
        if not self._cases["train"]:
            raise BadInputError("No case has the side 'train'; there is nothing to learn from")
        self._pipelines = {side: self._pipeline(side, bundle.metadata) for side in self._cases}
        self._module = _kind_of(network, config)(
            network,
            self._channels,
            loss=config.build("loss"),
            inferers=(
                _inferer(config, "train#inferer", "inferer"),
                _inferer(config, "validate#inferer", "inferer", "train#inferer"),
            ),
            image_key=image_key,
            cases=[case.id for case in self._cases["train"]],
            seed=self._seed,
            team=self._team,
        )
        self._module.optimizer = self._optimizer()
        self._module.scheduler = config.build("lr_scheduler", "lr_schedule#lr_scheduler")

    def run(self) -> None:
        """Train to the end, or until told to leave."""
        state, bounds = self._resume(), self._bounds()
        self._module.left_out = state.left_out
        train, validate = self._train_loader(state), self._validate_loader(state)
        folder = Path(self._request.out) / "checkpoints"
        pace = Pace(self._control, self._commands, folder=folder, state=state, bounds=bounds)
        epoch_steps = -(-len(self._cases["train"]) // ((train.batch_size or 1) * self._team.ranks))
        reporter = Reporter(pace, self._team, epoch_steps)
        trainer = self._trainer(reporter, state, bounds)
        try:
            if validate is not None and state.steps == 0:
                trainer.validate(self._module, validate, verbose=False)
            if state.epoch < bounds.epochs:
                trainer.fit(self._module, train, validate)
            if validate is not None and state.epoch % self._val_interval():
                trainer.validate(self._module, validate, verbose=False)
        # Lightning left the epoch in its middle, so nothing has validated the last steps.
        except EnoughError:
            if validate is not None:
                trainer.validate(self._module, validate, verbose=False)
            reporter.keep(self._module)
        except LeftError:
            return
        left_out = {case for part in self._team.all_of(state.left_out) for case in part}
        if all(case.id in left_out for case in self._cases["train"]):
            raise no_case_left(len(self._cases["train"]))
        if self._team.leads:
            self._finish(state, sorted(left_out))

    def _pipeline(self, side: str, about: Metadata) -> Pipeline:
        """Return what prepares the cases of a side; validation as training does where the bundle says nothing."""
        return Pipeline(
            self._config,
            self._config.find(f"{side}#preprocessing") or "train#preprocessing",
            channels=self._channels,
            about=about,
            cache=Path(self._request.cache),
        )

    def _optimizer(self) -> Optimizer:
        """Return the bundle's optimizer, at the learning rate that was asked for."""
        optimizer: Optimizer = self._config.build("optimizer")
        if self._spec.learning_rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = self._spec.learning_rate
        return optimizer

    def _finish(self, state: TrainingState, left_out: list[str]) -> None:
        """Write the weights, the best ones if there was something to choose by, and say so."""
        checkpoint.fill(state, self._module.network, self._module.optimizer, self._module.scheduler)
        path = checkpoint.write_best(state, Path(self._request.out) / "weights.safetensors")
        self._control.say(
            TrainResult(
                weights=str(path),
                epoch=state.epoch,
                steps=state.steps,
                train_s=state.seconds,
                best=state.best,
                val_at_start=state.val_at_start,
                head_rebuilt=self._channels.rebuilt,
                batch_at_once=state.at_once,
                precision=self._precision,
                ranks=self._team.ranks,
                left_out=left_out,
            )
        )

    def _resume(self) -> TrainingState:
        """Return where training stands, with network, optimizer and scheduler put there."""
        module = self._module
        state = checkpoint.take_up(self._request.resume, module.network, module.optimizer, module.scheduler)
        module.at_once = state.at_once
        return state

    def _bounds(self) -> Bounds:
        """Return where training ends: as the spec says, else the bundle."""
        epochs = self._spec.epochs or int(self._config.build("train#trainer#max_epochs", "epochs") or _DEFAULT_EPOCHS)
        return Bounds(epochs, self._spec.max_steps, self._spec.max_minutes * 60, self._spec.patience)

    def _val_interval(self) -> int:
        """Return the epochs between validations: the spec's, else the bundle's."""
        return self._spec.val_interval or max(1, int(self._config.build("val_interval") or 1))

    def _train_loader(self, state: TrainingState) -> "DataLoader[Any]":
        """Return this rank's training batches, from where the state stands."""
        cases = self._cases["train"]
        size = self._spec.batch_size or int(self._config.build("train#dataloader#batch_size") or 1)
        place = (self._team.rank, self._team.ranks)
        return DataLoader(
            CaseDataset(cases, self._pipelines["train"], state.left_out),
            batch_size=min(size, len(cases)),
            sampler=EpochOrder(len(cases), seed=self._seed, begin=(state.epoch, state.drawn), rank=place),
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )

    def _validate_loader(self, state: TrainingState) -> "DataLoader[Any] | None":
        """Return this rank's validation cases; None if there is none at all."""
        cases = self._cases["validate"]
        if not cases:
            return None
        mine = self._team.share(cases)
        self._module.shares_validation = self._team.ranks > 1 and len(mine) < len(cases)
        self._module.judged = [case.id for case in mine]
        dataset = CaseDataset(mine, self._pipelines["validate"], state.left_out)
        return DataLoader(dataset, batch_size=1, collate_fn=list_data_collate, pin_memory=torch.cuda.is_available())

    def _trainer(self, reporter: Reporter, state: TrainingState, bounds: Bounds) -> Trainer:
        """Return Lightning's trainer: it writes no file, draws no bar and logs nothing by itself."""
        trainer = Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=self._team.ranks,
            strategy=strategy(self._team, self._port),
            precision=self._precision,
            max_epochs=bounds.epochs,
            check_val_every_n_epoch=self._val_interval(),
            num_sanity_val_steps=0,
            # The epoch that is gone on with is shorter than the others.
            reload_dataloaders_every_n_epochs=1 if state.drawn else 0,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[reporter],
            default_root_dir=Path.cwd(),
        )
        # Lightning counts from 0 unless a checkpoint of its own, of which we write none, says otherwise.
        trainer.fit_loop.epoch_progress.current.processed = state.epoch
        trainer.fit_loop.epoch_progress.current.completed = state.epoch
        return trainer


def precision_of(asked: str) -> Any:
    """Return Lightning's precision; `auto` is mixed on a GPU and full on a CPU.

    Raises:
        BadInputError: If it is 16-mixed and there is no GPU.
    """
    gpu = torch.cuda.is_available()
    if asked == "auto":
        return ("bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed") if gpu else "32-true"
    if asked == "16-mixed" and not gpu:
        raise BadInputError(
            "precision 16-mixed needs a GPU and this machine has none: ask for 32-true, bf16-mixed or auto"
        )
    return asked


def _kind_of(network: nn.Module, config: Config) -> Callable[..., Segmenter]:
    """Return what fits a network of this kind."""
    return partial(PromptLearner, sampler=sampler_of(config)) if isinstance(network, Prompted) else Segmenter


def _inferer(config: Config, *names: str) -> Inferer:
    found: Inferer | None = config.build(*names)
    return found if found is not None else SimpleInferer()


def _cases(request: TrainRequest, side: str, most: Any) -> list[Case]:
    """Return the cases of a side; where the bundle's configuration has an upper bound, the first so many."""
    found = [case for case in request.cases if case.side == side]
    return found[:most] if isinstance(most, int) else found


def _listen(control: Control, commands: SimpleQueue[HostCommand]) -> None:
    """Pass commands on to the loop; without a parent the process ends."""
    while (command := control.hear()) is not None:
        commands.put(command)
    os._exit(0)
