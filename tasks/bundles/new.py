"""A bundle to begin from, made of the sample."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import InvalidRequestError


def write_bundle(sample: Path, folder: Path, labels: Sequence[str], *, channels: int = 1) -> None:
    """Write a bundle with its own labels and input channels; what else it says is the sample's.

    Args:
        sample: The sample bundle.
        folder: Where to; its last part is the bundle's name.
        labels: Names of what is drawn, without the background.
        channels: Input channels.

    Raises:
        InvalidRequestError: If there is something already, or no label.
    """
    if folder.exists():
        raise InvalidRequestError(f"{folder} is there already: name a folder that is not")
    if not labels:
        raise InvalidRequestError("A bundle names at least one label: --labels liver,spleen")
    shutil.copytree(sample, folder)
    for name in ("train.json", "inference.json"):
        _rewrite(folder / "configs" / name, lambda written: _with_outputs(written, len(labels) + 1, channels))
    _rewrite(folder / "configs" / "metadata.json", lambda written: _described(written, folder.name, labels, channels))
    (folder / "docs" / "README.md").write_text(f"# {folder.name}\n\nA 3D U-Net for {', '.join(labels)}.\n")


def _rewrite(file: Path, change: Any) -> None:
    written = json.loads(file.read_text())
    change(written)
    file.write_text(json.dumps(written, indent=2) + "\n")


def _with_outputs(written: dict[str, Any], outputs: int, channels: int) -> None:
    written["network_def"] |= {"out_channels": outputs, "in_channels": channels}
    for transform in written.get("validate", {}).get("postprocessing", {}).get("transforms", []):
        if transform["_target_"] == "AsDiscreted":
            transform["to_onehot"] = outputs


def _described(written: dict[str, Any], name: str, labels: Sequence[str], channels: int) -> None:
    what = f"Segmentation of {', '.join(labels)}"
    written |= {"name": name, "version": "0.1.0", "changelog": {"0.1.0": "first version"}}
    written |= {"task": what, "description": f"{what}: a small 3D U-Net at 3 mm, weights random.", "authors": ""}
    image, prediction = (written["network_data_format"][kind] for kind in ("inputs", "outputs"))
    image["image"] |= {
        "num_channels": channels,
        "modality": "",
        "channel_def": {str(channel): f"image {channel + 1}" for channel in range(channels)},
    }
    names = {str(channel): name for channel, name in enumerate(["background", *labels])}
    prediction["pred"] |= {"num_channels": len(names), "channel_def": names}
