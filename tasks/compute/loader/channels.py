"""Which output channel of a network stands for which label of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass

from configs.names import plain

BACKGROUND = "background"


@dataclass(frozen=True)
class Channels:
    """The output channels of a network that serves an experiment.

    Attributes:
        names: A name per channel.
        labels: The experiment's label index per channel; 0 for the background and for names it does not have.
        exclusive: One label per voxel (softmax, channel 0 is background); else a mask per channel (sigmoid).
        rebuilt: The network's last layer has to be made anew for these channels.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    exclusive: bool
    rebuilt: bool

    @property
    def foreground(self) -> dict[int, str]:
        """Names by channel, of the channels that stand for a label of the experiment."""
        return {channel: self.names[channel] for channel, label in enumerate(self.labels) if label}

    def channel_of(self) -> dict[int, int]:
        """Return the value of a label in a training target by the experiment's label index.

        For exclusive channels the channel itself; for masks the channel plus 1, as 0 is no mask.
        """
        shift = 0 if self.exclusive else 1
        return {label: channel + shift for channel, label in enumerate(self.labels) if label}

    def drawn(self, annotated: list[str] | None) -> list[bool]:
        """Return per channel whether the annotator drew it (None = every label of the experiment)."""
        wanted = None if annotated is None else {plain(name) for name in annotated}
        return [bool(label) and (wanted is None or plain(name) in wanted) for name, label in self._pairs()]

    def _pairs(self) -> list[tuple[str, int]]:
        return list(zip(self.names, self.labels, strict=True))


def match(own: Mapping[int, str], wanted: Mapping[int, str], *, count: int, exclusive: bool) -> Channels:
    """Return the channels of a bundle's network for an experiment's labels.

    Names contained in the bundle's keep its head; other names ask for a new one.

    Args:
        own: The bundle's names by output channel, without background.
        wanted: The experiment's names by label index; 0 is background.
        count: Output channels that the bundle's network has.
        exclusive: Whether the network's channels exclude each other.
    """
    asked = {plain(name): index for index, name in wanted.items() if index}
    held = {plain(name) for name in own.values()}
    if asked.keys() <= held:
        names = [own.get(channel, BACKGROUND) for channel in range(count)]
        labels = [asked.get(plain(name), 0) if channel in own else 0 for channel, name in enumerate(names)]
        return Channels(tuple(names), tuple(labels), exclusive, rebuilt=False)
    ordered = sorted((index, name) for index, name in wanted.items() if index)
    first = [(0, BACKGROUND)] if exclusive else []
    indices, given = zip(*first, *ordered, strict=True)
    return Channels(given, indices, exclusive, rebuilt=True)
