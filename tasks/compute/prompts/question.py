"""What one request asks of a network that takes prompts: which labels, and clicks on one of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from monai.apps.vista3d.inferer import point_based_window_inferer
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor

from configs.specs.infer import InferSpec
from tasks.compute.failures import BadInputError
from tasks.compute.inference.grid import Grid
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.network import first_tensor
from tasks.compute.prompts.network import Prompted

_POINT_LABELS = range(-1, 4)
_NOWHERE = -9999.0
_INSIDE = 0.5
# The extent that VISTA-3D was trained with.
_DEFAULT_WINDOW = 128


@dataclass(frozen=True)
class Clicks:
    """Clicks on one class: `points` of shape (1, click, 3) on the prepared grid, `sides` of shape (1, click)."""

    points: Tensor
    sides: Tensor
    number: int
    own: bool


@dataclass(frozen=True)
class Question:
    """The channels that are wanted, their classes, and clicks if there are any."""

    channels: Channels
    classes: tuple[int, ...]
    clicks: Clicks | None = None

    def ask(self, inferer: Inferer, image: Tensor, window: Callable[..., Tensor]) -> Tensor:
        """Return logits of shape (1, channel, i, j, k).

        Around clicks they are what the network makes of them; elsewhere its automatic answer, or nothing where the
        class is one that it has not learnt.
        """
        if self.clicks is None:
            return first_tensor(inferer(image, window, self.classes))
        clicked = self._around_clicks(inferer, image, window, self.clicks)
        if self.clicks.own:
            return clicked.nan_to_num(nan=_NOWHERE)
        automatic = first_tensor(inferer(image, window, self.classes)).to(clicked)
        return torch.where(clicked.isnan(), automatic, clicked)

    def _around_clicks(self, inferer: Inferer, image: Tensor, window: Callable[..., Tensor], clicks: Clicks) -> Tensor:
        """Return the answer in the windows around the clicks, NaN elsewhere."""
        number = torch.tensor([[clicks.number]], device=image.device)
        answer: Tensor = point_based_window_inferer(
            image,
            _window(inferer),
            window,
            point_coords=clicks.points.to(image.device),
            point_labels=clicks.sides.to(image.device),
            class_vector=None if clicks.own else number,
            prompt_class=number,
        )
        return answer.as_tensor() if isinstance(answer, MetaTensor) else answer


def question_of(network: Prompted, channels: Channels, asked: InferSpec, prepared: Grid, grid: Grid) -> Question:
    """Return what a request asks.

    Args:
        network: The network.
        channels: The experiment's channels, as its network was built with.
        asked: The request's prompts.
        prepared: The preprocessed image's grid.
        grid: The image's own grid, on which clicks are given.

    Raises:
        BadInputError: If it names no label that there is, or its clicks cannot be used.
    """
    clicked = bool(asked.points or asked.point_labels)
    question = _labels(network, channels, asked.label_prompt, clicked=clicked)
    if not clicked:
        return question
    if len(question.classes) != 1:
        raise BadInputError("Clicks belong to one label: give label_prompt with that one label's index")
    (number,) = question.classes
    if number in network.prompts.merged:
        msg = f"{question.channels.names[0]} is a union of other labels"
        raise BadInputError(f"{msg}, which takes no clicks: click on one of its parts")
    points = _on_prepared(asked, prepared, grid)
    sides = torch.tensor([asked.point_labels])
    own = network.prompts.is_own(number)
    return replace(question, clicks=Clicks(points, network.convert_point_label(sides, [number]), number, own))


def _labels(network: Prompted, channels: Channels, indices: Sequence[int], *, clicked: bool) -> Question:
    """Return the question for these label indices; none = everything that there is and can be told apart.

    What the network has not learnt is passed over unless it is clicked on.
    """
    every = list(zip(channels.names, channels.labels, network.classes, strict=True))
    left_out = network.prompts.unsupported | (frozenset() if clicked else network.unlearnt)
    known = [row for row in every if row[2] not in left_out]
    wanted = [row for row in known if row[1] in indices] if indices else _everything(network, known)
    if not wanted:
        found = ", ".join(str(label) for _, label, _ in sorted(known, key=lambda row: row[1]))
        msg = f"label_prompt names no label that can be looked for here; these can: {found or 'none'}"
        raise BadInputError(msg + _to_be_taught([row for row in every if row[2] in left_out & network.unlearnt]))
    names, labels, classes = zip(*wanted, strict=True)
    return Question(replace(channels, names=names, labels=labels), classes)


def _to_be_taught(rows: list[tuple[str, int, int]]) -> str:
    """Return what to do about labels that are not learnt yet; nothing where there are none."""
    names = ", ".join(f"{name} ({label})" for name, label, _ in rows)
    return f". Not learnt yet: {names}; click on it, or label images until a round is published" if names else ""


def _everything(network: Prompted, known: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Return what is looked for where nothing is named: all, but of labels within each other those that exclude."""
    apart = network.prompts.overlapping | network.prompts.merged.keys()
    whole = {number for _, _, number in known} >= apart
    # An experiment with a few labels was given each of them on purpose.
    return [row for row in known if row[2] not in apart] if whole else known


def _on_prepared(asked: InferSpec, prepared: Grid, grid: Grid) -> Tensor:
    """Return the clicks on the prepared grid, shape (1, click, 3)."""
    if len(asked.points) != len(asked.point_labels):
        raise BadInputError(
            f"{len(asked.points)} points have {len(asked.point_labels)} point_labels: give one for each"
        )
    if not set(asked.point_labels) <= set(_POINT_LABELS) or not {1, 3} & set(asked.point_labels):
        raise BadInputError("point_labels are 1 (inside), 0 (outside) or -1 (left out), and at least one is 1")
    given = np.asarray(asked.points, dtype=np.float64)
    extents = np.asarray(grid.shape[:3])
    if bool(((given < 0) | (given > extents - 1)).any()):
        raise BadInputError(f"points are voxel indices of the image, which has {' x '.join(map(str, extents))} voxels")
    between = np.linalg.inv(prepared.affine) @ grid.affine
    moved = (given @ between[:3, :3].T + between[:3, 3]).round()
    # The network leaves out clicks on the very first voxel of an axis; a fraction it would round to beyond the last.
    inside = moved.clip(_INSIDE, np.asarray(prepared.shape[:3]) - 1)
    return torch.from_numpy(inside).float()[None]


def _window(inferer: Inferer) -> tuple[int, ...]:
    """Return the extents of what the network sees at a time."""
    if not isinstance(inferer, SlidingWindowInferer):
        return (_DEFAULT_WINDOW,) * 3
    roi = inferer.roi_size
    return tuple(int(extent) for extent in roi) if isinstance(roi, list | tuple) else (int(roi),) * 3
