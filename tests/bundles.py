"""The bundles that come with the project, and VISTA-3D's as narrow as tests can run it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

VISTA3D = Path(__file__).parents[1] / "bundles" / "vista3d"
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
