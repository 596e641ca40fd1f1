"""Fine-tune a bundle by the trainer that it brings: whatever its iteration does, what goes in and out is ours."""

import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import Evaluator
from monai.transforms import Compose
from monai.utils import set_determinism
from torch.optim import Optimizer

from configs.wire.host import HostCommand, TrainRequest, TrainResult
from tasks.compute.boxes.places import BoxKeys, keys_of
from tasks.compute.failures import BadInputError, BundleFaultError, ComputeError, is_memory
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Bundle, Config
from tasks.compute.loader.network import build_network, channels_of
from tasks.compute.loader.pictures import read_pictures
from tasks.compute.loader.pipeline import no_case_left
from tasks.compute.loader.tier import DATA
from tasks.compute.own.blame import Blame
from tasks.compute.own.cases import Items, items_of
from tasks.compute.own.watch import Learner, Watch
from tasks.compute.training import checkpoint
from tasks.compute.training.checkpoint import TrainingState
from tasks.compute.training.pace import Bounds, EnoughError, LeftError, Pace, Speaker

_VALIDATION_DATA = "validate#dataset#data"
_VALIDATOR = "validate#evaluator"
_DEFAULT_EPOCHS = 20
# No other process reads for a host: labels are few, and what such a process holds would count twice.
_IN_PROCESS = {"num_workers": 0, "persistent_workers": False, "prefetch_factor": None, "drop_last": False}


def train(
    request: TrainRequest, control: Speaker, commands: "SimpleQueue[HostCommand]", overrides: Mapping[str, Any]
) -> None:
    """Run the bundle's trainer to the end, or until told to leave.

    Args:
        request: What is asked.
        control: Who is told.
        commands: What the parent asks meanwhile.
        overrides: The request's overrides, checked.

    Raises:
        BundleFaultError: If its `train#trainer` is no ignite engine, or its network is not the one that is trained.
        BadInputError: If the request does not fit it.
        NotFiniteError: If the loss or the weights become NaN or infinite.
    """
    if request.spec.num_gpu not in {0, 1}:
        raise BadInputError("The bundle's own trainer runs in one process: ask for num_gpu 1")
    blame = Blame()
    while True:
        try:
            _train(request, control, commands, overrides, blame)
        except ComputeError:
            raise
        except Exception as error:  # whatever the bundle's own code raises
            if is_memory(error):
                raise
            traceback.print_exc()
            blame.find(error)  # and then without the cases that it names
        else:
            return


def _train(
    request: TrainRequest,
    control: Speaker,
    commands: "SimpleQueue[HostCommand]",
    overrides: Mapping[str, Any],
    blame: Blame,
) -> None:
    """Run it once, without the cases that are left out by now."""
    seed = request.seed + request.spec.seed
    bundle = Bundle(Path(request.bundle))
    start = Path(request.weights) if request.weights else None
    plain = _config(bundle, request, overrides)
    channels = channels_of(bundle, plain, request.labels)
    image_key = bundle.metadata.image_key
    boxes = keys_of(plain) if channels.kind == "boxes" else None
    items = _items(request, channels, image_key, blame.left_out, boxes)
    config = _config(bundle, request, {**overrides, **_set(request, plain, items)})
    blame.begin(config, image_key, items)
    if not items["validate"]:
        config.leave_out("ValidationHandler")
    network, channels = build_network(bundle, config, labels=request.labels, weights=start, seed=seed)
    set_determinism(seed)
    _read_pictures(config, bundle.metadata.image.num_channels or 1)
    learner = Learner(network, _optimizer(config, request.spec.learning_rate), _scheduler(config))
    trainer = config.build("train#trainer")
    if not isinstance(trainer, Engine):
        raise BundleFaultError(f"Its train#trainer is a {type(trainer).__name__} and no ignite engine: it only infers")
    # An epoch begun is begun again.
    state = checkpoint.take_up(request.resume, network, learner.optimizer, learner.scheduler)
    bounds = _bounds(request, config)
    pace = Pace(control, commands, folder=Path(request.out) / "checkpoints", state=state, bounds=bounds)
    validator = config.build(_VALIDATOR) if items["validate"] else None
    if not isinstance(validator, Evaluator):
        validator = None
    Watch(pace, learner).attach(trainer, validator)
    blame.attach(trainer, *([validator] if validator else []))
    if not _run(trainer, validator, state, bounds):
        return
    learner.fill(state)
    result = _result(state, Path(request.out), rebuilt=channels.rebuilt)
    control.say(result.model_copy(update={"left_out": sorted(blame.left_out)}))


def _run(trainer: Engine, validator: Evaluator | None, state: TrainingState, bounds: Bounds) -> bool:
    """Run it; False if it was told to leave."""
    trainer.state.max_epochs = bounds.epochs
    trainer.state.epoch, trainer.state.iteration = state.epoch, state.epoch * (trainer.state.epoch_length or 0)
    try:
        if validator is not None and state.steps == 0:
            validator.run()
        if state.epoch < bounds.epochs:
            trainer.run()
    except EnoughError:
        if validator is not None:
            validator.run()
    except LeftError:
        return False
    return True


def _config(bundle: Bundle, request: TrainRequest, overrides: Mapping[str, Any]) -> Config:
    config = bundle.training(overrides, request.spec.config_file)
    if config is None:  # then it is of tier C, and nobody asks
        raise BundleFaultError("The bundle has no configs/train.json or .yaml")
    return config


def _read_pictures(config: Config, inputs: int) -> None:
    """Have the bundle's transforms, of each of which there is one, read pictures as its network takes them."""
    for side in ("train", "validate"):
        if isinstance(transforms := config.build(f"{side}#preprocessing"), Compose):
            read_pictures(transforms, inputs)


def _side(request: TrainRequest, side: str) -> list[Any]:
    return [case for case in request.cases if case.side == side]


def _items(
    request: TrainRequest, channels: Channels, image_key: str, left_out: list[str], boxes: BoxKeys | None
) -> dict[str, Items]:
    """Return the cases' items by side."""
    said: dict[str, Any] = {"image_key": image_key, "labels": request.labels, "boxes": boxes}
    said |= {"folder": Path(tempfile.mkdtemp())}
    items = {side: items_of(_side(request, side), channels, left_out, **said) for side in ("train", "validate")}
    if not items["train"] and left_out:
        raise no_case_left(len(_side(request, "train")))
    if not items["train"]:
        raise BadInputError("No case has the side 'train'; there is nothing to learn from")
    return items


def _set(request: TrainRequest, config: Config, items: Mapping[str, Items]) -> dict[str, Any]:
    """Return what we set in the bundle's configuration, where it has such an id: data, epochs, one process."""
    spec, (learning, judging) = request.spec, ([*items[side].values()] for side in ("train", "validate"))
    wanted: dict[str, Any] = {DATA: learning, _VALIDATION_DATA: judging or learning}
    wanted |= {"val_interval": spec.val_interval, "train#dataloader#batch_size": spec.batch_size}
    wanted |= {
        f"{side}#{part}#{name}": value
        for side in ("train", "validate")
        for part in ("dataloader", "dataset")
        for name, value in _IN_PROCESS.items()
    }
    if not torch.cuda.is_available() or spec.precision == "32-true":
        wanted |= {"train#trainer#amp": False, f"{_VALIDATOR}#amp": False}
    asked = {name: value for name, value in wanted.items() if value is not None or name.endswith("prefetch_factor")}
    return {name: value for name, value in asked.items() if config.find(name)}


def _optimizer(config: Config, learning_rate: float | None) -> Optimizer | None:
    """Return the bundle's optimizer, at the learning rate that was asked for."""
    optimizer: Optimizer | None = config.build("optimizer", "train#trainer#optimizer")
    if optimizer is not None and learning_rate is not None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
    return optimizer


def _scheduler(config: Config) -> Any:
    return config.build("lr_scheduler", "lr_schedule#lr_scheduler")


def _bounds(request: TrainRequest, config: Config) -> Bounds:
    """Return where training ends: as the spec says, else the bundle."""
    spec = request.spec
    epochs = spec.epochs or int(config.build("train#trainer#max_epochs", "epochs") or _DEFAULT_EPOCHS)
    return Bounds(epochs, spec.max_steps, spec.max_minutes * 60, spec.patience)


def _result(state: TrainingState, out: Path, *, rebuilt: bool) -> TrainResult:
    """Write the weights, the best ones if there was something to choose by, and return what to say of them."""
    return TrainResult(
        weights=str(checkpoint.write_best(state, out / "weights.safetensors")),
        epoch=state.epoch,
        steps=state.steps,
        train_s=state.seconds,
        best=state.best,
        val_at_start=state.val_at_start,
        head_rebuilt=rebuilt,
        precision="its own",
    )
