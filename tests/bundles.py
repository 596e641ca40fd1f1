"""The bundles that come with the project, as narrow as tests can run them, and pictures of two classes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

VISTA3D = Path(__file__).parents[1] / "bundles" / "vista3d"
CLASSIFIER = Path(__file__).parents[1] / "bundles" / "endoscopic_inbody_classification"
SIZE = 32
"""Extent of the narrow network's window."""


def narrow(folder: Path, *, spacing_mm: float = 1.5) -> Path:
    """Write the bundle with 6 million parameters, random ones; all else, and every name, is the same."""
    shutil.copytree(VISTA3D, folder)

    def smaller(written: dict[str, Any]) -> None:
        written["network_def"]["encoder_embed_dim"] = 8
        written["inferer"]["roi_size"] = [SIZE] * 3
        written["resample_to_spacing"] = [spacing_mm] * 3

    def random(written: dict[str, Any]) -> None:
        written["weights"] = "random(0)"

    _rewrite(folder / "configs" / "inference.json", smaller)
    _rewrite(folder / "configs" / "metadata.json", random)
    return folder


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    written = json.loads(file.read_text())
    change(written)
    file.write_text(json.dumps(written))


def narrow_classifier(folder: Path) -> Path:
    """Write the bundle of endoscopic frames with a network of 12 thousand parameters, random ones, at 48 x 48."""
    shutil.copytree(CLASSIFIER, folder)
    network = {
        "_target_": "ResNet",
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [4, 8, 16, 32],
        "spatial_dims": 2,
        "n_input_channels": 3,
        "num_classes": 2,
        "conv1_t_size": 3,
        "norm": ["group", {"num_groups": 4}],
    }

    def smaller(written: dict[str, Any]) -> None:
        written["network_def"] = network
        transforms = written.get("preprocessing", written.get("train", {}).get("deterministic_transforms"))
        for transform in transforms["transforms"] if isinstance(transforms, dict) else transforms:
            if transform["_target_"] == "Resized":
                transform["spatial_size"] = [48, 48]

    def random(written: dict[str, Any]) -> None:
        written["weights"] = "random(0)"
        written["network_data_format"]["inputs"]["image"]["spatial_shape"] = [48, 48]

    for name in ("inference", "train"):
        _rewrite(folder / "configs" / f"{name}.json", smaller)
    _rewrite(folder / "configs" / "metadata.json", random)
    return folder


def picture(number: int, of_class: int) -> Image.Image:
    """A coloured picture, 60 x 44, of noise on a background of any colour; those of class 1 are striped."""
    random = np.random.default_rng(number)
    pixels = random.uniform(60, 160, 3) + random.normal(0, 12, (44, 60, 3))
    if of_class:
        stripes = (np.add.outer(np.arange(44), np.arange(60)) + random.integers(0, 8)) % 8 < 4
        pixels += 70 * stripes[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
