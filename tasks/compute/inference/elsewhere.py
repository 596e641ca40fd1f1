"""A model version away from here: what MLflow's `pyfunc` imports from the folder that it has fetched.

The folder holds `model.json`, `weights.safetensors` and `bundle/`; nothing in it is a pickle of ours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from tasks.compute.inference.answers import LabelMap
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.grid import Labels
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network

Said = Labels | dict[str, Any]
"""A label map; or a class, with the probability of each."""
ABOUT, WEIGHTS, BUNDLE = "model.json", "weights.safetensors", "bundle"


class About(BaseModel):
    """`model.json`, as far as it is needed to predict: label names by index."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    labels: dict[int, str]


class Model:
    """Predicts as the realtime server does, in float32.

    Args:
        folder: The fetched folder.
    """

    def __init__(self, folder: Path) -> None:
        about = About.model_validate_json((folder / ABOUT).read_bytes())
        bundle = Bundle(folder / BUNDLE)
        config = bundle.inference()
        network, channels = build_network(bundle, config, labels=about.labels, weights=folder / WEIGHTS)
        self._network: nn.Module = network.eval()
        self._predictor = Predictor(bundle, config, channels, cache=None, arrangement=Arrangement())

    def predict(self, images: Any, params: dict[str, Any] | None = None) -> Said | list[Said]:  # noqa: ARG002 - `params` is pyfunc's
        """Return label indices, uint8 of shape (i, j, k), on the image's own grid; or what is said instead of a mask.

        Args:
            images: Path of one image; or several of them, in a list or a table's first column: then a list is
                returned. An image of several files, one per channel, is a list of paths inside the list.
            params: Not used.
        """
        if isinstance(images, str | Path):
            return self._one([str(images)])
        rows = images.iloc[:, 0] if hasattr(images, "iloc") and images.ndim > 1 else images
        return [self._one([str(row)] if isinstance(row, str | Path) else [str(file) for file in row]) for row in rows]

    def _one(self, files: Sequence[str]) -> Said:
        answer = self._predictor.predict(self._network, files)
        return answer.labels if isinstance(answer, LabelMap) else answer.said.model_dump(by_alias=True)


def _load_pyfunc(folder: str) -> Model:
    """Open the folder; MLflow calls it by this name."""
    return Model(Path(folder))
