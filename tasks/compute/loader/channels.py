"""Which output channel of a network stands for which label of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from configs.kinds import LabelKind
from configs.names import plain

BACKGROUND = "background"


@dataclass(frozen=True)
class Channels:
    """The output channels of a network that serves an experiment.

    Attributes:
        names: A name per channel.
        labels: The experiment's label index per channel; `nothing` for the background and for names it does not have.
        exclusive: One label per voxel (softmax, channel 0 is background), or per image; else a mask per channel
            (sigmoid).
        rebuilt: The network's last layer has to be made anew for these channels.
        kind: What the network says of an image.
        unions: By channel the channels of what is a part of it: their voxels are its voxels, too.
        nested: Masks that contain their `unions`, each voxel of a label map being of the innermost; see `regions.py`.
        knows_unlabelled: `UNLABELLED` is kept in training targets; else it is background.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    exclusive: bool
    rebuilt: bool
    kind: LabelKind = "mask"
    unions: Mapping[int, frozenset[int]] = field(default_factory=dict)
    knows_unlabelled: bool = False
    nested: bool = False

    @property
    def nothing(self) -> int:
        """What stands in `labels` for no label: 0, which in a label map is background; but of a class it is one."""
        return 0 if self.kind == "mask" else -1

    @property
    def foreground(self) -> dict[int, str]:
        """Names by channel, of the channels that stand for a label of the experiment."""
        return {channel: self.names[channel] for channel, label in enumerate(self.labels) if label > self.nothing}

    @property
    def within(self) -> dict[int, tuple[int, ...]]:
        """The labels that a voxel of a label map may have to belong to a label: that one, and those it contains."""
        parts = self.unions if self.nested else {}
        return {
            label: (label, *(self.labels[part] for part in parts.get(channel, ()) if self.labels[part] > self.nothing))
            for channel, label in enumerate(self.labels)
            if label > self.nothing
        }

    def channel_of(self) -> dict[int, int]:
        """Return the value of a label in a training target by the experiment's label index.

        For exclusive channels the channel itself; for masks the channel plus 1, as 0 is no mask.
        """
        shift = 0 if self.exclusive else 1
        return {label: channel + shift for channel, label in enumerate(self.labels) if label > self.nothing}

    def drawn(self, annotated: list[str] | None) -> list[bool]:
        """Return per channel whether the annotator drew it (None = every label of the experiment).

        Whoever names a class has spoken of all: it is none of the others.
        """
        if self.kind == "class":
            return [True] * len(self.names)
        wanted = None if annotated is None else {plain(name) for name in annotated}
        channels = enumerate(self.names)
        return [channel in self.foreground and (wanted is None or plain(name) in wanted) for channel, name in channels]


def match(
    own: Mapping[int, str], wanted: Mapping[int, str], *, count: int, exclusive: bool, kind: LabelKind = "mask"
) -> Channels:
    """Return the channels of a bundle's network for an experiment's labels.

    Names contained in the bundle's keep its head; other names ask for a new one.

    Args:
        own: The bundle's names by output channel, without background.
        wanted: The experiment's names by label index; 0 is background in label maps.
        count: Output channels that the bundle's network has.
        exclusive: Whether the network's channels exclude each other.
        kind: What it says of an image.
    """
    ordered = sorted((index, name) for index, name in wanted.items() if index or kind != "mask")
    asked = {plain(name): index for index, name in ordered}
    held = {plain(name) for name in own.values()}
    if asked.keys() <= held:
        names = [own.get(channel, BACKGROUND) for channel in range(count)]
        nothing = 0 if kind == "mask" else -1
        labels = [asked.get(plain(name), nothing) if channel in own else nothing for channel, name in enumerate(names)]
        return Channels(tuple(names), tuple(labels), exclusive, rebuilt=False, kind=kind)
    first = [(0, BACKGROUND)] if exclusive and kind == "mask" else []
    indices, given = zip(*first, *ordered, strict=True)
    return Channels(given, indices, exclusive, rebuilt=True, kind=kind)
