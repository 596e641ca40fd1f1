"""Give a network another number of output channels, every other weight kept."""

from typing import Any

import torch
from torch import Tensor, nn

from tasks.compute.failures import BundleFaultError

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def replace_head(network: nn.Module, example: Tensor, *, old: int, new: int) -> str:
    """Replace the last layer that makes *old* channels by one that makes *new*; returns its name.

    The layer is found by running the network once: it is the last one run with that many outputs.

    Raises:
        BundleFaultError: If no such layer is found, or the network then does not answer *new* channels.
    """
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _module, _input, _output, name=name: ran.append(name))
        for name, module in network.named_modules()
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)) and _outputs(module) == old
    ]
    # By running it and not by its names: what runs last need not be registered last.
    channels = _answer(network, example)
    for hook in hooks:
        hook.remove()
    if not ran or channels != old:
        raise BundleFaultError(
            f"{type(network).__name__}: its last layer with {old} outputs was not found, so it cannot be given"
            f" {new} labels; use labels that the bundle names"
        )
    name = ran[-1]
    parent = network.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], _like(network.get_submodule(name), new))
    try:
        fits = _answer(network, example) == new
    except RuntimeError:  # another layer depends on the number of outputs too
        fits = False
    if not fits:
        raise BundleFaultError(
            f"{type(network).__name__}: replacing {name!r} did not give it {new} outputs; use labels that the"
            " bundle names"
        )
    return name


def _answer(network: nn.Module, example: Tensor) -> int:
    """Return the number of channels of the network's answer."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        output: Any = network(example)
    network.train(training)
    first = output[0] if isinstance(output, list | tuple) else output
    return int(first.shape[1])


def _outputs(module: nn.Module) -> int:
    return module.out_features if isinstance(module, nn.Linear) else int(module.out_channels)  # type: ignore[arg-type]  # a convolution


def _like(layer: nn.Module, outputs: int) -> nn.Module:
    """Return a new layer that differs in its number of outputs alone."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, outputs, bias=layer.bias is not None).to(layer.weight.device)
    if not isinstance(layer, _CONVOLUTIONS) or layer.groups != 1:
        raise BundleFaultError("The network's last layer is a grouped convolution, which cannot be remade")
    shape: dict[str, Any] = {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "bias": layer.bias is not None,
    }
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        shape["output_padding"] = layer.output_padding
    return type(layer)(layer.in_channels, outputs, **shape).to(layer.weight.device)
