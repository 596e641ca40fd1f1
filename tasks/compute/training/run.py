"""Fine-tune a bundle on labelled cases."""

import os
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch
from lightning.pytorch import Trainer
from monai.data import list_data_collate
from monai.inferers import Inferer, SimpleInferer
from torch.utils.data import DataLoader, Sampler

from configs.wire.host import Case, HostCommand, Ready, TrainRequest, TrainResult
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.config import Bundle, Config, check_overrides
from tasks.compute.loader.network import build_network
from tasks.compute.loader.pipeline import CaseDataset, Pipeline
from tasks.compute.loader.tier import tier_of
from tasks.compute.training import checkpoint
from tasks.compute.training.checkpoint import TrainingState
from tasks.compute.training.module import Segmenter
from tasks.compute.training.reporter import EnoughError, LeftError, Reporter, fill

_DEFAULT_EPOCHS = 20


def run(request: TrainRequest, control: Control) -> None:
    """Answer a training request."""
    commands: SimpleQueue[HostCommand] = SimpleQueue()
    Thread(target=_listen, args=(control, commands), daemon=True).start()
    control.say(Ready())
    bundle = Bundle(Path(request.bundle))
    config = bundle.training(check_overrides(request.spec.overrides))
    tier, reason = tier_of(config)
    if config is None or tier != "A":
        raise BundleFaultError(f"This bundle cannot be fine-tuned here (tier {tier}): {reason}")
    Training(request, bundle, config, control, commands).run()


class Training:
    """One training run: everything that the bundle says, put together once."""

    def __init__(
        self,
        request: TrainRequest,
        bundle: Bundle,
        config: Config,
        control: Control,
        commands: SimpleQueue[HostCommand],
    ) -> None:
        self._request = request
        self._spec = request.spec
        self._config = config
        self._control = control
        self._commands = commands
        self._seed = request.seed + request.spec.seed
        start = Path(request.weights) if request.weights else None
        network, self._channels = build_network(bundle, config, labels=request.labels, weights=start, seed=self._seed)
        image_key = bundle.metadata.image_key
        self._pipelines = {
            side: Pipeline(
                config,
                config.find(*names) or "train#preprocessing",
                channels=self._channels,
                image_key=image_key,
                cache=Path(request.cache),
            )
            for side, names in (("train", ("train#preprocessing",)), ("validate", ("validate#preprocessing",)))
        }
        self._module = Segmenter(
            network,
            self._channels,
            loss=config.build("loss"),
            inferers=(
                _inferer(config, "train#inferer", "inferer"),
                _inferer(config, "validate#inferer", "inferer", "train#inferer"),
            ),
            image_key=image_key,
        )
        self._module.optimizer = config.build("optimizer")
        if self._spec.learning_rate is not None:
            for group in self._module.optimizer.param_groups:
                group["lr"] = self._spec.learning_rate
        self._module.scheduler = config.build("lr_scheduler", "lr_schedule#lr_scheduler")

    def run(self) -> None:
        """Train to the end, or until told to leave."""
        state = self._resume()
        reporter = Reporter(
            self._control,
            self._commands,
            folder=Path(self._request.out) / "checkpoints",
            state=state,
            max_epoch=self._epochs(),
            bounds=(self._spec.max_steps, self._spec.max_minutes * 60),
        )
        train, validate = self._loader("train"), self._loader("validate")
        if train is None:
            raise BadInputError("No case has the side 'train'; there is nothing to learn from")
        trainer = self._trainer(reporter, state)
        try:
            if validate is not None and state.steps == 0:
                trainer.validate(self._module, validate, verbose=False)
            if state.epoch < self._epochs():
                trainer.fit(self._module, train, validate)
            if validate is not None and state.epoch % self._spec.val_interval:
                trainer.validate(self._module, validate, verbose=False)
        except EnoughError:
            if validate is not None:
                trainer.validate(self._module, validate, verbose=False)
            reporter.keep(self._module)
        except LeftError:
            return
        self._finish(state)

    def _finish(self, state: TrainingState) -> None:
        """Write the weights, the best ones if there was something to choose by, and say so."""
        fill(state, self._module)
        best = state.network if state.best_network is None else state.best_network
        path = checkpoint.write_weights(best, Path(self._request.out) / "weights.safetensors")
        self._control.say(
            TrainResult(
                weights=str(path),
                epoch=state.epoch,
                steps=state.steps,
                train_s=state.seconds,
                best=state.best,
                val_at_start=state.val_at_start,
                head_rebuilt=self._channels.rebuilt,
            )
        )

    def _resume(self) -> TrainingState:
        """Return where training stands, with network, optimizer and scheduler put there."""
        if self._request.resume is None:
            return TrainingState(epoch=0, steps=0, seconds=0.0, network={}, optimizer={})
        state = checkpoint.load(Path(self._request.resume))
        optimizer = self._module.optimizer
        try:
            self._module.network.load_state_dict(state.network)
            if optimizer is not None:
                optimizer.load_state_dict(state.optimizer)
            if self._module.scheduler is not None and state.scheduler is not None:
                self._module.scheduler.load_state_dict(state.scheduler)
        except (RuntimeError, ValueError, KeyError) as error:
            raise BadInputError("The checkpoint belongs to another network or optimizer") from error
        return state

    def _epochs(self) -> int:
        """Return the epochs in all: the spec's, else the bundle's."""
        if self._spec.epochs is not None:
            return self._spec.epochs
        return int(self._config.build("train#trainer#max_epochs", "epochs") or _DEFAULT_EPOCHS)

    def _loader(self, side: str) -> "DataLoader[Any] | None":
        """Return the batches of one side; None if it has no case."""
        cases = [case for case in self._request.cases if case.side == side]
        if not cases:
            return None
        varied = side == "train"
        dataset = CaseDataset(cases, self._pipelines[side], varied=varied)
        if not varied:
            return DataLoader(dataset, batch_size=1, collate_fn=list_data_collate)
        size = self._spec.batch_size or int(self._config.build("train#dataloader#batch_size") or 1)
        order = EpochOrder(cases, self._pipelines[side], seed=self._seed, first=self._first_epoch())
        return DataLoader(dataset, batch_size=min(size, len(cases)), sampler=order, collate_fn=list_data_collate)

    def _first_epoch(self) -> int:
        return checkpoint.load(Path(self._request.resume)).epoch if self._request.resume else 0

    def _trainer(self, reporter: Reporter, state: TrainingState) -> Trainer:
        """Return Lightning's trainer: it writes no file, draws no bar and logs nothing by itself."""
        return Trainer(
            accelerator="auto",
            devices=1,
            precision=self._precision(),
            max_epochs=max(1, self._epochs() - state.epoch),
            check_val_every_n_epoch=self._spec.val_interval,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[reporter],
            default_root_dir=Path.cwd(),
        )

    def _precision(self) -> Any:
        """Return the spec's precision; auto is mixed on an accelerator and full on a CPU."""
        if self._spec.precision != "auto":
            return self._spec.precision
        if not torch.cuda.is_available():
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


class EpochOrder(Sampler[int]):
    """Cases in an order that depends on seed and epoch alone; restarts all randomness at each epoch.

    So an epoch that is repeated after a crash is repeated exactly.
    """

    def __init__(self, cases: list[Case], pipeline: Pipeline, *, seed: int, first: int) -> None:
        self._count = len(cases)
        self._pipeline = pipeline
        self._seed = seed
        self._epoch = first

    def __len__(self) -> int:
        """Return the number of cases."""
        return self._count

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of one epoch."""
        seed = self._seed * 1_000_003 + self._epoch
        self._epoch += 1
        torch.manual_seed(seed)
        self._pipeline.seed(seed)
        order = torch.randperm(self._count, generator=torch.Generator().manual_seed(seed))
        yield from order.tolist()


def _inferer(config: Config, *names: str) -> Inferer:
    found: Inferer | None = config.build(*names)
    return found if found is not None else SimpleInferer()


def _listen(control: Control, commands: SimpleQueue[HostCommand]) -> None:
    """Pass commands on to the loop; without a parent the process ends."""
    while (command := control.hear()) is not None:
        commands.put(command)
    os._exit(0)
