"""Cases as items for training and evaluation: what is fixed is computed once, what is random each time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Randomizable
from monai.transforms.traits import RandomizableTrait
from torch.utils.data import Dataset

from configs.wire.host import Case
from tasks.compute.failures import BadInputError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Config
from tasks.compute.loader.tensors import Item, TensorCache

LABEL = "label"
DRAWN = "drawn"
CASE = "case_number"


class Draw(NamedTuple):
    """One case of a training epoch, and the seed of its random transforms."""

    case: int
    seed: int


class Relabel:
    """Turns an experiment's label indices into the network's channels, right after loading."""

    def __init__(self, channels: Channels) -> None:
        self.table = torch.zeros(256, dtype=torch.float32)
        for label, channel in channels.channel_of().items():
            self.table[label] = channel

    def __call__(self, item: Item) -> Item:
        """Return the item with its label map translated; unknown indices become background."""
        values = item[LABEL]
        table = self.table[torch.as_tensor(np.asarray(values)).round().long().clamp(0, 255)]
        item[LABEL] = MetaTensor(table, meta=values.meta) if isinstance(values, MetaTensor) else table
        return item


class Pipeline:
    """A bundle's training or validation transforms, split where randomness begins.

    Args:
        config: The training configuration.
        name: Id of the transforms, such as `train#preprocessing`.
        channels: What the network's channels stand for.
        image_key: The network's first input.
        cache: Folder of preprocessed tensors; None = memory only.
    """

    def __init__(self, config: Config, name: str, *, channels: Channels, image_key: str, cache: Path | None) -> None:
        transforms = list(config.build(name).flatten().transforms)
        first = next((n for n, transform in enumerate(transforms) if _random(transform)), len(transforms))
        self._image_key = image_key
        self._channels = channels
        self._fixed = Compose([transforms[0], Relabel(channels), *transforms[1:first]])
        self._random = Compose(transforms[first:])
        recipe = [config.raw(name), config.raw(name.split("#", 1)[0]), first, channels.labels, channels.names]
        self._cache = TensorCache(cache, recipe)

    def fixed(self, case: Case) -> Item:
        """Return the case after the deterministic transforms, from the cache if it is there.

        Raises:
            BadInputError: If the case has no label.
        """
        if case.label is None:
            raise BadInputError(f"Case {case.id} has no label; training and evaluation need one")
        image: Any = case.image[0] if len(case.image) == 1 else list(case.image)
        raw = {self._image_key: image, LABEL: case.label}
        item = self._cache.get([*case.image, case.label], lambda: dict(self._fixed(raw)))
        kept = {name: value for name, value in item.items() if isinstance(value, torch.Tensor)}
        return {**kept, DRAWN: torch.tensor(self._channels.drawn(case.annotated))}

    def varied(self, case: Case, number: int, seed: int) -> Any:
        """Return the case after all transforms, the random ones from this seed: an item, or a list of patches.

        The number comes back with it, as `CASE`.
        """
        item = {name: value.clone() for name, value in self.fixed(case).items()}
        self._random.set_random_state(seed=seed % 2**32)
        made = self._random(item)
        ours = {DRAWN: item[DRAWN], CASE: torch.tensor(number)}  # a bundle may select its own keys
        return [{**one, **ours} for one in made] if isinstance(made, list) else {**made, **ours}


class CaseDataset(Dataset[Any]):
    """Cases through a pipeline: as they are by their number, varied by a draw."""

    def __init__(self, cases: Sequence[Case], pipeline: Pipeline) -> None:
        self._cases = cases
        self._pipeline = pipeline

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._cases)

    def __getitem__(self, wanted: int | Draw) -> Any:
        """Return one case's item, or its list of patches."""
        if isinstance(wanted, Draw):
            return self._pipeline.varied(self._cases[wanted.case], wanted.case, wanted.seed)
        return self._pipeline.fixed(self._cases[wanted])


def _random(transform: object) -> bool:
    return isinstance(transform, Randomizable | RandomizableTrait)
