"""How much of a bundle we can train: A by Lightning, B by its own trainer, C not at all."""

from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from configs.wire.check import Tier
from tasks.compute.boxes.places import NO_WORLD, convention_of
from tasks.compute.loader.config import DETECTOR, Config

_PLAIN_TRAINERS = frozenset({"SupervisedTrainer", "monai.engines.SupervisedTrainer"})
_OWN_WAYS = ("iteration_update", "prepare_batch")
_NEEDED = ("loss", "optimizer", "train#preprocessing")
DATA = "train#dataset#data"


def tier_of(training: Config | None) -> tuple[Tier, str]:
    """Return the tier and the reason, from what is written alone; None = there is no training configuration."""
    if training is None:
        return "C", "It has no configs/train.json or .yaml: inference only"
    trainer = training.raw("train#trainer")
    if not isinstance(trainer, dict):
        return "C", "Its training configuration has no train#trainer: inference only"
    why = _own_way(training, trainer)
    if not why and training.find(DETECTOR):
        why = "Its loss is its detector's own"
    if not why:
        return "A", "A plain SupervisedTrainer: its loss, optimizer and transforms run in Lightning"
    if training.find(DATA) is None:
        return "C", f"{why}, and there is no {DATA} through which it could be given labels: inference only"
    if training.find(DETECTOR) and convention_of(training) is None:
        return "C", f"{why}. {NO_WORLD}: inference only"
    return "B", f"{why}, which is run as it is"


def _own_way(training: Config, trainer: dict[str, Any]) -> str:
    """Return in what a bundle's training differs from what runs in Lightning; empty = in nothing."""
    target = str(trainer.get("_target_"))
    if target not in _PLAIN_TRAINERS:
        return f"Its trainer is {target}"
    own = [name for name in _OWN_WAYS if trainer.get(name) is not None]
    if own:
        return f"Its trainer has its own {' and '.join(own)}"
    missing = [name for name in _NEEDED if training.find(name) is None]
    return f"Its trainer is a SupervisedTrainer without {', '.join(missing)} beside it" if missing else ""


def missing(packages: Iterable[str]) -> list[str]:
    """Return the packages that this machine does not have."""
    return [name for name in packages if not _installed(name)]


def command_for(packages: Iterable[str]) -> str:
    """Return what adds packages to the environment that runs this."""
    return f"pip install {' '.join(packages)}"


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return name.isidentifier() and find_spec(name) is not None
    return True
