"""Batch norms put into the convolutions before them: one pass over memory less for each."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeGuard

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Place = tuple[nn.Sequential, str, nn.Module]


def fold_norms(network: nn.Module) -> None:
    """Fold each batch norm that a chain calls right after a convolution; the answer is the same but for rounding.

    Args:
        network: In evaluation mode, and not to be trained again.
    """
    for chain in list(network.modules()):
        if is_chain(chain):
            for (before, its_name, layer), (after, name, norm) in pairwise(list(_called(chain))):
                if type(norm) is nn.BatchNorm3d and norm.track_running_stats and _folds(layer):
                    transposed = isinstance(layer, nn.ConvTranspose3d)
                    setattr(before, its_name, fuse_conv_bn_eval(layer, norm, transposed))
                    setattr(after, name, nn.Identity())


def is_chain(module: nn.Module) -> bool:
    """Say whether a module calls its parts one after the other, with an image and nothing else."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _called(chain: nn.Module) -> Iterator[Place]:
    """Yield what a chain calls in the end, in order, with the innermost chain that holds it and its name there."""
    for name, layer in chain.named_children():
        if is_chain(layer):
            yield from _called(layer)
        elif isinstance(chain, nn.Sequential):
            yield chain, name, layer


def _folds(layer: nn.Module) -> TypeGuard[nn.Conv3d | nn.ConvTranspose3d]:
    # Exactly these types: one that was derived from them may do more than its weights say.
    return type(layer) is nn.Conv3d or (type(layer) is nn.ConvTranspose3d and layer.groups == 1)
