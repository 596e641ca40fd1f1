"""The bundle that the bench serves: MONAI's UNet of 4.8 million parameters, as in its spleen bundle, and its images."""

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy import ndimage

SHAPE = (128, 128, 64)
SPACING_MM = (1.5, 1.5, 2.0)
LABELS = {"1": "blob"}
DEFINITION = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
WINDOW = (96, 96, 64)
_LEVELS = {"a_min": -57, "a_max": 164, "b_min": 0.0, "b_max": 1.0, "clip": True}
_STEPS, _PATCH = 30, 48


def write_bundle(folder: Path, definition: Mapping[str, object] = DEFINITION, window: tuple[int, ...] = WINDOW) -> None:
    """Write the bundle, or one with another UNet; its weights are an experiment's own, or random."""
    pixdim = list(SPACING_MM)
    transforms = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": pixdim, "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", **_LEVELS},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]
    inference = {
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "UNet", **definition},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(window),
            "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "configs" / "metadata.json").write_text(json.dumps(_metadata()))


def _metadata() -> dict[str, object]:
    shape = ["16*n", "16*n", "16*n"]
    image = {"type": "image", "num_channels": 1, "spatial_shape": shape, "channel_def": {"0": "image"}}
    channels = {"0": "background", **LABELS}
    pred = {
        "type": "image",
        "format": "segmentation",
        "num_channels": 2,
        "spatial_shape": shape,
        "channel_def": channels,
    }
    return {
        "version": "0.1.0",
        "name": "bench",
        "weights": "random(0)",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }


def volume(seed: int, shape: tuple[int, ...] = SHAPE) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return an image that looks like soft tissue with noise, and the brighter blobs in it as a label map."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=[extent // 8 for extent in shape]).astype(np.float32)
    field = ndimage.zoom(coarse, 8, order=1)
    inside = field > 0.5
    image = 40 * field + 60 * inside + rng.normal(0, 20, shape)
    return image.astype(np.int16), inside.astype(np.uint8)


def write_image(path: Path, seed: int, spacing_mm: tuple[float, float, float] = SPACING_MM) -> None:
    """Write an image as `.nii.gz`."""
    affine = np.diag([-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0])
    nibabel.save(nibabel.Nifti1Image(volume(seed)[0], affine), path)


def trained() -> UNet:
    """Return the network after a short training: Dice of decisions means nothing with random weights."""
    torch.manual_seed(0)
    network = UNet(**DEFINITION)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    network.to(memory_format=torch.channels_last_3d)
    for step in range(_STEPS):
        cases = [volume(1000 + 2 * step + number, (_PATCH,) * 3) for number in range(2)]
        images = torch.stack([scaled(image) for image, _ in cases])
        labels = torch.stack([torch.from_numpy(label)[None] for _, label in cases])
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images.to(memory_format=torch.channels_last_3d))
        loss_of(logits.float(), labels).backward()
        optimizer.step()
    network.to(memory_format=torch.contiguous_format)
    return network.eval()


def scaled(image: NDArray[np.int16]) -> torch.Tensor:
    """Return an image as the bundle's transforms scale it, shape (1, i, j, k)."""
    low, high = _LEVELS["a_min"], _LEVELS["a_max"]
    values = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
    return torch.from_numpy(values)[None]


def save_weights(network: torch.nn.Module, path: Path) -> Path:
    """Write the network's weights as safetensors."""
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def loaded(path: Path) -> UNet:
    """Return the network with weights that `save_weights` wrote."""
    network = UNet(**DEFINITION)
    network.load_state_dict(load_file(path))
    return network.eval()
