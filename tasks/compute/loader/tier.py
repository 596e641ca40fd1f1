"""How much of a bundle we can train: A by Lightning, B by its own trainer, C not at all."""

from importlib import metadata
from importlib.util import find_spec

from configs.wire.host import Tier
from tasks.compute.loader.config import Bundle, Config

_PLAIN_TRAINERS = frozenset({"SupervisedTrainer", "monai.engines.SupervisedTrainer"})
_OWN_WAYS = ("iteration_update", "prepare_batch")
_NEEDED = ("loss", "optimizer", "train#preprocessing")


def tier_of(training: Config | None) -> tuple[Tier, str]:
    """Return the tier and the reason, from what is written alone."""
    if training is None:
        return "C", "It has no configs/train.json or .yaml: inference only"
    trainer = training.raw("train#trainer")
    if not isinstance(trainer, dict):
        return "C", "Its training configuration has no train#trainer: inference only"
    target = str(trainer.get("_target_"))
    if target not in _PLAIN_TRAINERS:
        return "B", f"Its trainer is {target}, which is run as it is"
    own = [name for name in _OWN_WAYS if trainer.get(name) is not None]
    if own:
        return "B", f"Its trainer has its own {' and '.join(own)}"
    missing = [name for name in _NEEDED if training.find(name) is None]
    if missing:
        return "B", f"Its configuration has no {', '.join(missing)}"
    return "A", "A plain SupervisedTrainer: its loss, optimizer and transforms run in Lightning"


def missing_packages(bundle: Bundle) -> list[str]:
    """Return the packages that the metadata requires and this machine does not have."""
    return [name for name in bundle.metadata.required_packages_version if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return name.isidentifier() and find_spec(name) is not None
    return True
