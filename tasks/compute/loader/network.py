"""A bundle's network with its weights, fitted to an experiment's labels."""

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from monai.networks.nets import VISTA3D
from safetensors.torch import load_file
from torch import Tensor, nn

from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.channels import Channels, match
from tasks.compute.loader.config import INFERER, NETWORK, Bundle, Config, device
from tasks.compute.loader.head import replace_head
from tasks.compute.loader.outputs import outputs_of
from tasks.compute.loader.regions import with_regions
from tasks.compute.prompts.classes import channels_for, check_mappings, classes_of, prompts_of
from tasks.compute.prompts.network import Prompted

# A power of two that usual networks can halve five times; its memory is small.
_DEFAULT_SIZE = 64
# A bundle may write any extent: the probe's activations grow with its cube.
_MAX_PROBE = 192


def own_weights(bundle: Bundle) -> Path | None:
    """Return the bundle's own state file, safetensors first; None where it has none."""
    models = bundle.folder / "models"
    return next((file for name in ("model.safetensors", "model.pt") if (file := models / name).is_file()), None)


def require_weights(bundle: Bundle) -> None:
    """Refuse a bundle that has neither weights nor a seed.

    Raises:
        BundleFaultError: If its metadata does not say `weights: random(seed)` and there is no models/model.pt.
    """
    if own_weights(bundle) is None and bundle.metadata.seed is None:
        raise BundleFaultError(
            "The bundle has no models/model.pt or model.safetensors; add its weights, or say"
            ' "weights": "random(0)" in its metadata to start from random ones'
        )


def read_state(file: Path) -> dict[str, Tensor]:
    """Return a state dictionary, unwrapped: `{"model": …}`, `{"state_dict": …}` and DDP prefixes are undone."""
    if file.suffix not in (".pt", ".pth"):  # our own blobs are safetensors, named by their hash alone
        return load_file(file)
    state: Any = torch.load(file, map_location="cpu", weights_only=True)
    for wrapper in ("model", "state_dict", "network"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping):
        raise BundleFaultError("The bundle's weights are no state dictionary")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_state(network: nn.Module, file: Path, *, but_head: bool = False) -> None:
    """Load weights into a network, all of them and nothing else.

    Args:
        network: The network.
        file: Its state: safetensors, or what `torch.load` reads without running code.
        but_head: Leave tensors of another shape as they are: they depend on the number of labels.

    Raises:
        BadInputError: If they belong to another network or another label set.
    """
    try:
        state = read_state(file)
        if but_head:
            own = network.state_dict()
            state = {
                name: own[name] if name in own and own[name].shape != value.shape else value
                for name, value in state.items()
            }
        network.load_state_dict(state, strict=True)
    except (RuntimeError, KeyError, UnpicklingError, EOFError) as error:
        raise BadInputError(
            "These weights do not fit the network: they come from another bundle or another set of labels"
        ) from error


def channels_of(bundle: Bundle, config: Config, labels: Mapping[int, str] | None) -> Channels:
    """Return what a network's channels stand for, for these labels; None = the bundle's own."""
    outputs = outputs_of(bundle, config)
    prompts, wanted = prompts_of(config), labels or outputs.labels
    if prompts is not None:
        return channels_for(classes_of(prompts, outputs.names, wanted), wanted, prompts)
    channels = match(outputs.names, wanted, count=outputs.count, exclusive=outputs.exclusive, kind=outputs.kind)
    return channels if outputs.exclusive else with_regions(channels, bundle.training())


def build_network(
    bundle: Bundle, config: Config, *, labels: Mapping[int, str] | None, weights: Path | None, seed: int = 0
) -> tuple[nn.Module, Channels]:
    """Return the network on its device with weights, and what its channels stand for.

    Args:
        bundle: The bundle.
        config: The configuration in which later parts (optimizer, …) refer to this network.
        labels: The experiment's names by index; None = the bundle's own.
        weights: Our own weights of a version; None = the bundle's, or random ones by its seed.
        seed: For a new head.

    Raises:
        BundleFaultError: If the network cannot be built or its last layer cannot be found.
        BadInputError: If the weights do not fit.
    """
    if weights is None:
        require_weights(bundle)
    channels = channels_of(bundle, config, labels)
    given = channels.rebuilt and config.give_outputs(len(channels.names))
    # Before anything is made: weights that are drawn have to be the same in training, serving and evaluation.
    torch.manual_seed(seed if bundle.metadata.seed is None else bundle.metadata.seed)
    network = config.build(*NETWORK)
    if not isinstance(network, nn.Module):
        raise BundleFaultError("The bundle's configuration has no network_def that is a torch module")
    base = own_weights(bundle)
    if base is not None and weights is None:
        load_state(network, base, but_head=given)
    if channels.rebuilt and not given:
        replace_head(
            network, probe(bundle, config).to(device()), old=outputs_of(bundle, config).count, new=len(channels.names)
        )
    network = _with_prompts(bundle, config, network, channels)
    # After the head: a version's weights are those of the network as it is for these labels.
    if weights is not None:
        load_state(network, weights)
    return network.to(device()), channels


def _with_prompts(bundle: Bundle, config: Config, network: nn.Module, channels: Channels) -> nn.Module:
    """Return a network that takes prompts as one that answers these channels; any other as it is."""
    prompts = prompts_of(config)
    if prompts is None:
        return network
    if not isinstance(network, VISTA3D):
        raise BundleFaultError(f"{type(network).__name__} takes no prompts: only VISTA3D is known to")
    labels = {index: name for name, index in zip(channels.names, channels.labels, strict=True)}
    classes = classes_of(prompts, outputs_of(bundle, config).names, labels)
    check_mappings(config, classes)
    return Prompted(network, prompts, [classes[index] for index in channels.labels])


def probe(bundle: Bundle, config: Config) -> Tensor:
    """Return zeros of the size that the network sees at a time: (1, channels, i, j, k)."""
    image = bundle.metadata.image
    inferer: Inferer | None = config.build(*INFERER, "validate#inferer", "train#inferer")
    if isinstance(inferer, SlidingWindowInferer):
        roi = inferer.roi_size if isinstance(inferer.roi_size, list | tuple) else (inferer.roi_size,) * 3
        size = [int(extent) if int(extent) > 0 else _DEFAULT_SIZE for extent in roi]
    else:
        size = [extent_of(extent) for extent in image.spatial_shape]
    return torch.zeros(1, image.num_channels or 1, *(size or [_DEFAULT_SIZE] * 3))


def extent_of(written: int | str) -> int:
    """Return a size that a metadata `spatial_shape` entry allows: an int, `*`, `16*n`, or `2**p*n`."""
    if isinstance(written, int):
        return min(written, _MAX_PROBE)
    number = re.match(r"\s*(\d+)", written)
    if number is None:
        return _DEFAULT_SIZE
    step = int(number[1]) if "**" not in written else 32
    return max(step, _DEFAULT_SIZE // step * step)


def first_tensor(output: Any) -> Tensor:
    """Return the prediction itself: some networks answer a list (deep supervision) or a dictionary."""
    if isinstance(output, Mapping):
        output = next(iter(output.values()))
    if isinstance(output, list | tuple):
        output = output[0]
    if not isinstance(output, Tensor):
        raise BundleFaultError(f"The network answers a {type(output).__name__}, not a tensor")
    return output
