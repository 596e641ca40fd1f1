"""Write an app's models as MONAI bundles, whose configuration names the app's code."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from monai.transforms import Activationsd

from configs.wire.apps import AppModels, AppRequest
from configs.wire.host import Ready
from tasks.compute.apps import parts
from tasks.compute.apps.interfaces import App, BundleTask, InferTask, KeyMetric, TrainTask
from tasks.compute.apps.load import CONF, Model, every_model, load, models_of, own_code, switch
from tasks.compute.control import Control
from tasks.compute.failures import BundleFaultError

_PARTS = parts.__name__
_STATES = {".pt": "model.pt", ".pth": "model.pt", ".safetensors": "model.safetensors"}
_METRICS = {"mean_dice": "MeanDice", "mean_iou": "MeanIoUHandler"}
_RANDOM = "random(0)"
_COMMON = {
    "bundle_root": ".",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network": "$@network_def.to(@device)",
}


def run(request: AppRequest, control: Control) -> None:
    """Answer with a bundle for each model."""
    control.say(Ready())
    app = load(Path(request.app), request.conf)
    models, every = models_of(app), every_model(app).values()
    for model in models.values():
        write(app, request.name, model, Path(request.out) / model.name, every)
    control.say(AppModels(models=list(models)))


def write(app: App, name: str, model: Model, folder: Path, every: Iterable[Model]) -> None:
    """Write one model: the app's files, what `--conf` said, and the configuration that names them.

    The app's files without the weights of its other models, which may be large, and without configurations at its top:
    they would be taken for this model's.

    Args:
        app: The app.
        name: What it is called.
        model: One of its models.
        folder: Where to; it is not there yet.
        every: All models of the app.

    Raises:
        BundleFaultError: If its weights or its bundle are not in the app's folder, or it is judged by what is none.
    """
    shutil.copytree(app.app_dir, folder, symlinks=True, ignore=_left_out(app, model, every))
    (folder / CONF).write_text(json.dumps(dict(app.conf), sort_keys=True))
    called = f"{name}_{model.name}"
    pretrained = switch(app, "use_pretrained_model", default=True)
    if isinstance(model.infer, BundleTask):
        _write_bundle(model.infer, called, folder, pretrained=pretrained)
        return
    with own_code(f"The model {model.name!r} fails", app.app_dir):
        exclusive = model.infer.answers == "mask" and not _overlaps(model)
        inference = _inference(model, model.infer, exclusive=exclusive)
        training = _training(model.infer, model.train, inference, exclusive=exclusive) if model.train else None
    metadata = _metadata(app, called, model.infer, exclusive=exclusive)
    weights = _weights(app, model) if pretrained else None
    _forget_weights(folder)
    if weights is None:
        metadata["weights"] = _RANDOM
    else:
        (folder / "models").mkdir(exist_ok=True)
        shutil.copyfile(weights, folder / "models" / _STATES[weights.suffix])
    (folder / "configs").mkdir(exist_ok=True)
    for file, content in (("metadata", metadata), ("inference", inference), ("train", training)):
        if content is not None:
            (folder / "configs" / f"{file}.json").write_text(json.dumps(content, indent=2))


def _write_bundle(task: BundleTask, called: str, folder: Path, *, pretrained: bool) -> None:
    """Write a bundle's files beside the app's, under a name of the app's, without its weights if they are not meant."""
    if not (task.folder / "configs" / "metadata.json").is_file():
        raise BundleFaultError(f"BundleTask: there is no configs/metadata.json in {task.folder.name!r}")
    shutil.copytree(task.folder, folder, symlinks=True, dirs_exist_ok=True)
    file = folder / "configs" / "metadata.json"
    said = {**json.loads(file.read_bytes()), "name": called}
    if not pretrained:
        said["weights"] = _RANDOM
        _forget_weights(folder)
    file.write_text(json.dumps(said, indent=2))


def _left_out(app: App, model: Model, every: Iterable[Model]) -> Callable[[str, list[str]], set[str]]:
    """Return what tells `copytree` which names of a folder to leave out."""
    paths = {app.app_dir / "configs"}
    for other in every:
        if isinstance(other.infer, BundleTask):
            paths.add(app.app_dir / other.infer.folder / "models")
        elif other.infer.path is not None:
            paths.add(app.app_dir / other.infer.path)
    if isinstance(model.infer, InferTask) and model.infer.path is not None:
        paths.discard(app.app_dir / model.infer.path)
    return lambda folder, names: {name for name in names if name == "__pycache__" or Path(folder, name) in paths}


def _overlaps(model: Model) -> bool:
    steps = parts.after(model).transforms
    return any(isinstance(step, Activationsd) and any(step.sigmoid) for step in steps)


def _weights(app: App, model: Model) -> Path | None:
    """Return the file of a model's first weights."""
    path = model.infer.path if isinstance(model.infer, InferTask) else None
    if path is None:
        return None
    file = app.app_dir / path
    if not file.is_file() or file.suffix not in _STATES:
        raise BundleFaultError(
            f"The model {model.name!r} begins with {path.name}, and the app's folder has no such file (.pt or"
            " .safetensors): add it, give no path, or say --conf use_pretrained_model false"
        )
    return file


def _forget_weights(folder: Path) -> None:
    """Remove what came with the app's files, or a bundle's, and would be loaded by its name alone."""
    for weights in (folder / "models").glob("model.*"):
        weights.unlink()


def _metadata(app: App, called: str, task: InferTask, *, exclusive: bool) -> dict[str, Any]:
    names = [*(["background"] if exclusive else []), *task.labels]
    shape = {"spatial_shape": task.spatial_shape}
    answer = {"format": "classes" if task.answers == "class" else "segmentation", **shape}
    return {
        "name": called,
        "version": app.version,
        "description": task.description or app.description,
        "network_data_format": {
            "inputs": {"image": {"type": "image", "num_channels": task.channels, **shape}},
            "outputs": {"pred": {**answer, "num_channels": len(names), "channel_def": dict(enumerate(names))}},
        },
    }


def _part(function: str, **more: Any) -> dict[str, Any]:
    return {"_target_": f"{_PARTS}.{function}", "model": "@app", **more}


def _inference(model: Model, task: InferTask, *, exclusive: bool) -> dict[str, Any]:
    return {
        **_COMMON,
        "app": {"_target_": f"{_PARTS}.{parts.model.__name__}", "root": "@bundle_root", "name": model.name},
        "network_def": _part("network", out_channels=len(task.labels) + exclusive),
        "preprocessing": _part("before"),
        "inferer": _part("inferer"),
        # Read, not run, to tell labels that overlap from those that exclude each other.
        "postprocessing": _part("after", _desc_=str({"sigmoid": not exclusive})),
    }


def _metric(infer: InferTask, task: TrainTask, *, exclusive: bool) -> dict[str, Any]:
    """Return what a version is judged by, as a bundle's configuration says it."""
    if infer.answers == "class":
        return {"accuracy": {"_target_": "ignite.metrics.Accuracy"}}
    name = task.key_metric()
    if name not in _METRICS:
        known = " or ".join(map(repr, get_args(KeyMetric)))
        raise BundleFaultError(f"{type(task).__name__}.key_metric returns {name!r}: return {known}")
    return {name: {"_target_": _METRICS[name], "include_background": not exclusive}}


def _training(infer: InferTask, task: TrainTask, inference: dict[str, Any], *, exclusive: bool) -> dict[str, Any]:
    said = {"context": "@context"}
    return {
        **{name: inference[name] for name in (*_COMMON, "app", "network_def", "inferer")},
        "context": _part("context", network="@network", device="@device"),
        "epochs": task.epochs,
        "val_interval": task.val_interval,
        "loss": _part("loss", **said),
        "optimizer": _part("optimizer", **said),
        "train": {
            "preprocessing": _part("train_before", **said),
            "postprocessing": _part("train_after", **said),
            "inferer": _part("train_inferer", **said),
            "dataloader": {"batch_size": task.batch_size},
            "trainer": {"_target_": "SupervisedTrainer", "max_epochs": "@epochs", "network": "@network"},
        },
        "validate": {
            "preprocessing": _part("validate_before", **said),
            "postprocessing": _part("validate_after", **said),
            "inferer": _part("validate_inferer", **said),
            "key_metric": _metric(infer, task, exclusive=exclusive),
        },
    }
