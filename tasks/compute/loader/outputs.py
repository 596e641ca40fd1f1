"""What a bundle's network answers: how many channels, and what they are called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.kinds import LabelKind
from tasks.compute.loader.channels import BACKGROUND
from tasks.compute.loader.config import COUNTS, DETECTOR, POSTPROCESSING, Bundle, Config

_NAMED = ("label_names", "class_names", "label_dict")
_NUMBERED = "The bundle does not name its labels: they are numbered"
_CLASSES = ("class", "classes", "classification")


@dataclass(frozen=True)
class Outputs:
    """The output channels of a bundle's own network.

    `kind`: what they say of an image. `names` by channel, without the background of label maps. `exclusive`: one label
    per voxel, channel 0 is background, or one per image or box; else a mask per channel, which may overlap. `doubt`:
    what its metadata leave open, as a sentence; empty = nothing.
    """

    count: int
    names: dict[int, str]
    exclusive: bool
    doubt: str
    kind: LabelKind = "mask"

    @property
    def labels(self) -> dict[int, str]:
        """Names by label index, as an experiment has them that asks for none: 0 is no label, so masks begin at 1."""
        shift = 0 if self.exclusive or self.kind != "mask" else 1
        return {channel + shift: name for channel, name in self.names.items()}


def kind_of(bundle: Bundle, config: Config) -> LabelKind:
    """Return what a bundle says of an image; what its network really answers is seen when it is examined."""
    if config.find(DETECTOR):
        return "boxes"
    written = bundle.metadata.prediction
    # The zoo's bundles that tell a class have one row of them for a shape, whatever they call the format.
    row = len(written.spatial_shape) == 2 and written.spatial_shape == [1, written.num_channels]  # noqa: PLR2004 (a row)
    return "class" if written.format in _CLASSES or row else "mask"


def outputs_of(bundle: Bundle, config: Config) -> Outputs:
    """Return the outputs as the network's definition, the metadata and the configuration say, in this order of trust.

    Metadata are no sure source: of the model zoo's bundles three name no channel, one has one channel with 133 names.
    """
    written = bundle.metadata.prediction
    named = written.channel_def
    counted = config.value(*COUNTS)
    count = counted if isinstance(counted, int) else written.num_channels or max(named, default=0) + 1
    kind = kind_of(bundle, config)
    exclusive = kind != "mask" or (count > 1 and not _has_sigmoid(config))
    within = {channel: name.strip() for channel, name in sorted(named.items()) if 0 <= channel < count and name.strip()}
    doubt = ""
    if len(within) < len(named):
        doubt = f"Its metadata name {len(named)} outputs, its network has {count}: the others are left out"
    # Channel 0 of a softmax is what no label is, whatever it is called; but a class is a class.
    first = 1 if exclusive and kind == "mask" else 0
    names = _foreground(within, first, kind)
    if not names:
        names = _foreground(_from_config(config), first, kind)
        doubt = "" if names else _NUMBERED
    named = names or {channel: f"label {channel + 1 - first}" for channel in range(first, count)}
    return Outputs(count, named, exclusive, doubt, kind)


def _has_sigmoid(config: Config) -> bool:
    written = config.recipe(*POSTPROCESSING) or config.raw("validate")
    return bool(re.search(r"'sigmoid': (True|\[True)", str(written)))


def _foreground(named: Mapping[int, str], first: int, kind: LabelKind) -> dict[int, str]:
    left_out = BACKGROUND if kind == "mask" else ""
    return {channel: name for channel, name in named.items() if channel >= first and name.lower() != left_out}


def _from_config(config: Config) -> dict[int, str]:
    """Return names by channel from the ids that bundles without a channel_def have: a list, or a mapping either way."""
    found = config.find(*_NAMED)
    written: Any = config.raw(found) if found else None
    if isinstance(written, list):
        return {channel: str(name) for channel, name in enumerate(written)}
    if not isinstance(written, Mapping):
        return {}
    if all(isinstance(value, int) for value in written.values()):
        return {int(value): str(name) for name, value in written.items()}
    return {int(key): str(name) for key, name in written.items() if str(key).isdigit()}
