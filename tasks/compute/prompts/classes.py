"""Which classes of a network that takes prompts stand for an experiment's labels."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from configs.names import plain
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Config

_ID = "prompts"
_PAIRS = TypeAdapter(list[tuple[int, int]])


class Prompts(BaseModel):
    """What a bundle says of its network's prompts, under the id `prompts`; classes are numbers from 1.

    Attributes:
        merged: Classes that are no more than the union of others.
        unsupported: Classes that have a name, but were never trained.
        overlapping: Classes within others, such as tumours: left out where everything is asked for.
        own: The first and the last class that an experiment may give a meaning of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    merged: dict[int, tuple[int, ...]] = {}
    unsupported: frozenset[int] = frozenset()
    overlapping: frozenset[int] = frozenset()
    own: tuple[int, int]

    def is_own(self, number: int) -> bool:
        """Say whether a class has no meaning but what an experiment gives it."""
        return self.own[0] <= number <= self.own[1]

    def parts_of(self, number: int) -> tuple[int, ...]:
        """Return the classes that make up a merged one; of any other the class itself."""
        return self.merged.get(number, (number,))


def prompts_of(config: Config) -> Prompts | None:
    """Return what a configuration says of prompts; None where its network takes none.

    Raises:
        BundleFaultError: If what it says has another form.
    """
    written = config.raw(_ID)
    if written is None:
        return None
    try:
        return Prompts.model_validate(written)
    except ValidationError as error:
        raise BundleFaultError(
            f"Its configuration's id {_ID!r} has another form: {error.error_count()} faults"
        ) from None


def classes_of(prompts: Prompts, own: Mapping[int, str], labels: Mapping[int, str]) -> dict[int, int]:
    """Return the network's class by label index: by its name, else its own number, else the next that is free.

    Args:
        prompts: What the bundle says of its prompts.
        own: The bundle's names by class.
        labels: The experiment's names by label index; 0 is background.

    Raises:
        BadInputError: If there are more labels of its own than the network has classes for.
    """
    named = {plain(name): number for number, name in own.items()}
    others = [index for index, name in sorted(labels.items()) if index and plain(name) not in named]
    taken = {index for index in others if prompts.is_own(index)}
    free = (number for number in range(prompts.own[0], prompts.own[1] + 1) if number not in taken)
    found = {index: named[plain(name)] for index, name in labels.items() if index and plain(name) in named}
    for index in others:
        number = index if index in taken else next(free, None)
        if number is None:
            msg = f"The network has room for {prompts.own[1] - prompts.own[0] + 1} labels that it does not name"
            raise BadInputError(f"{msg}; these are {len(others)}")
        found[index] = number
    return found


def check_mappings(config: Config, classes: Mapping[int, int]) -> None:
    """Refuse a training configuration's `label_mappings` that give a label another class than it is served with.

    Args:
        config: The training configuration.
        classes: The network's class by label index.

    Raises:
        BadInputError: If it does, or they have another form.
    """
    written = config.raw("label_mappings#default")
    if written is None:
        return
    try:
        pairs = _PAIRS.validate_python(written)
    except ValidationError:
        raise BadInputError('label_mappings are {"default": [[label index, class], ...]}') from None
    for index, number in pairs:
        if classes.get(index, number) != number:
            raise BadInputError(
                f"label_mappings give label {index} the class {number}, and it is served as class {classes[index]}: a"
                " label has the class of its name, and one of its own if the network does not know the name"
            )


def channels_for(classes: Mapping[int, int], labels: Mapping[int, str], prompts: Prompts) -> Channels:
    """Return a channel per label, those of merged classes last: where a part is as likely as the whole, it wins."""
    order = sorted(classes, key=lambda index: (classes[index] in prompts.merged, index))
    channel_of = {classes[index]: channel for channel, index in enumerate(order)}
    unions = {
        channel_of[number]: frozenset(channel_of[part] for part in parts if part in channel_of)
        for number, parts in prompts.merged.items()
        if number in channel_of
    }
    names = tuple(labels[index] for index in order)
    return Channels(names, tuple(order), exclusive=False, rebuilt=False, unions=unions, knows_unlabelled=True)
