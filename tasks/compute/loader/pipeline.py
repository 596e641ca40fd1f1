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

from configs.kinds import UNLABELLED, BoxesLabel, ClassLabel
from configs.wire.host import Case
from tasks.compute.failures import BadInputError, BundleFaultError, UnreadableError, preparing
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Config
from tasks.compute.loader.inputs import check_channels
from tasks.compute.loader.metadata import Metadata
from tasks.compute.loader.pictures import read_pictures
from tasks.compute.loader.regions import without_regions
from tasks.compute.loader.tensors import Item, TensorCache

LABEL = "label"
DRAWN = "drawn"
CASE = "case_number"


class Draw(NamedTuple):
    """One case of a training epoch, and the seed of its random transforms."""

    case: int
    seed: int


def class_in(label: str) -> int:
    """Return the class that a case's label says."""
    return ClassLabel.model_validate_json(Path(label).read_bytes()).index


def boxes_in(case: Case) -> BoxesLabel:
    """Return the boxes that a case's label says.

    Raises:
        BadInputError: If it has none.
    """
    if case.label is None:
        raise BadInputError(f"Case {case.id} has no label; training and evaluation need one")
    return BoxesLabel.model_validate_json(Path(case.label).read_bytes())


class Relabel:
    """Turns an experiment's label indices into the network's channels, right after loading."""

    def __init__(self, channels: Channels) -> None:
        self.table = torch.zeros(256, dtype=torch.float32)
        for label, channel in channels.channel_of().items():
            self.table[label] = channel
        if channels.knows_unlabelled:
            self.table[UNLABELLED] = UNLABELLED

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
        about: The bundle's metadata.
        cache: Folder of preprocessed tensors; None = memory only.
    """

    def __init__(self, config: Config, name: str, *, channels: Channels, about: Metadata, cache: Path | None) -> None:
        whole = config.build(name)
        read_pictures(whole, about.image.num_channels or 1)
        transforms = (
            without_regions(whole.flatten().transforms, LABEL) if channels.nested else whole.flatten().transforms
        )
        first = next((n for n, transform in enumerate(transforms) if _random(transform)), len(transforms))
        self._image_key = about.image_key
        self._inputs = about.image.num_channels or 1
        self._channels = channels
        relabel = [Relabel(channels)] if channels.kind == "mask" else []
        self._fixed = Compose([transforms[0], *relabel, *transforms[1:first]])
        self._random = Compose(transforms[first:])
        # One for all of them: to make one for each takes as long as a crop.
        self._draws = np.random.RandomState()
        recipe = [
            config.raw(name),
            config.raw(name.split("#", 1)[0]),
            first,
            channels.labels,
            channels.names,
            channels.nested,
        ]
        self._cache = TensorCache(cache, recipe)

    def fixed(self, case: Case) -> Item:
        """Return the case after the deterministic transforms, from the cache if it is there.

        Raises:
            BadInputError: If the case has no label.
            UnreadableError: If it cannot be read or prepared.
        """
        if case.label is None:
            raise BadInputError(f"Case {case.id} has no label; training and evaluation need one")
        image: Any = case.image[0] if len(case.image) == 1 else list(case.image)
        target = self._class_of(case.label) if self._channels.kind == "class" else case.label
        raw = {self._image_key: image, LABEL: target}

        def make() -> Item:
            """Prepare image and label as the bundle says."""
            with preparing():
                item = dict(self._fixed(raw))
            return {**item, LABEL: torch.as_tensor(item[LABEL])} if isinstance(target, int) else item

        item = self._cache.get([*case.image, case.label], make)
        check_channels(item[self._image_key], self._inputs)
        kept = {name: value for name, value in item.items() if isinstance(value, torch.Tensor)}
        return {**kept, DRAWN: torch.tensor(self._channels.drawn(case.annotated))}

    def _class_of(self, label: str) -> int:
        """Return the channel of the class that a label says: an int, as bundles' own lists of data have it."""
        return self._channels.channel_of()[class_in(label)]

    def varied(self, case: Case, number: int, seed: int) -> Any:
        """Return the case after all transforms, the random ones from this seed: an item, or a list of patches.

        The number comes back with it, as `CASE`.

        Raises: as `fixed`.
        """
        item = {name: value.clone() for name, value in self.fixed(case).items()}
        self._draws.seed(seed % 2**32)
        for transform in self._random.transforms:
            if isinstance(transform, Randomizable):
                transform.set_random_state(state=self._draws)
        with preparing():
            made = self._random(item)
        ours = {DRAWN: item[DRAWN], CASE: torch.tensor(number)}  # a bundle may select its own keys
        return [{**one, **ours} for one in made] if isinstance(made, list) else {**made, **ours}


class CaseDataset(Dataset[Any]):
    """Cases through a pipeline: as they are by their number, varied by a draw.

    Args:
        cases: The cases.
        pipeline: What prepares them.
        left_out: Ids of cases that the bundle cannot use; those that it cannot read or prepare are added.
    """

    def __init__(self, cases: Sequence[Case], pipeline: Pipeline, left_out: list[str]) -> None:
        self._cases = cases
        self._pipeline = pipeline
        self._left_out = left_out
        self._why = "it was left out before"

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._cases)

    def __getitem__(self, wanted: int | Draw) -> Any:
        """Return one case's item, or its list of patches.

        In place of a case that is left out a draw gives the next one, so that every process takes as many steps as
        ever; by its number it is an empty item.

        Raises:
            BundleFaultError: If there is none to give for a draw.
        """
        if not isinstance(wanted, Draw):
            return self._read(wanted) or {}
        for number in (*range(wanted.case, len(self)), *range(wanted.case)):
            if (made := self._read(number, wanted.seed)) is not None:
                return made
        raise no_case_left(len(self), self._why)

    def _read(self, number: int, seed: int | None = None) -> Any:
        """Return a case's item, varied where there is a seed; None if it is left out."""
        case = self._cases[number]
        if case.id in self._left_out:
            return None
        try:
            return self._pipeline.fixed(case) if seed is None else self._pipeline.varied(case, number, seed)
        except UnreadableError as error:
            self._why = str(error)
            self._left_out.append(case.id)
            return None


def no_case_left(cases: int, last: str = "its network failed") -> BundleFaultError:
    """Return the error of a training that has left out every one of its cases."""
    return BundleFaultError(
        f"The bundle can use none of the {cases} training cases: it cannot read or prepare them, or its network fails"
        f" on them; the host's log says where. Of the last one: {last}"
    )


def _random(transform: object) -> bool:
    return isinstance(transform, Randomizable | RandomizableTrait)
