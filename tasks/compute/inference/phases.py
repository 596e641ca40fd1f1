"""Transposed convolutions into few channels as ordinary ones, for which processors have faster kernels."""

from collections.abc import Iterator
from itertools import product

from torch import Tensor, nn
from torch.nn import functional

from tasks.compute.inference.folded import is_chain

_FEW = 4
_DOUBLING = {
    "kernel_size": (3, 3, 3),
    "stride": (2, 2, 2),
    "padding": (1, 1, 1),
    "output_padding": (1, 1, 1),
    "dilation": (1, 1, 1),
    "groups": 1,
}
# Along an axis an even voxel sees the middle of the kernel; an odd one sees its end here and its beginning one further.
_SEEN = (((0, 1),), ((0, 2), (1, 0)))


class Phases(nn.Module):
    """A transposed convolution that doubles each axis, as one convolution whose channels are put between each other.

    An output voxel is of one of eight phases, even or odd along each axis; those of one phase are an ordinary
    convolution of kernel 2. The result is the same but for rounding.

    Args:
        layer: One that `replaceable` yields.
    """

    def __init__(self, layer: nn.ConvTranspose3d) -> None:
        super().__init__()
        whole = layer.weight.detach().transpose(0, 1)
        kernels = whole.new_zeros(2, 2, 2, layer.out_channels, layer.in_channels, 2, 2, 2)
        for phase in product((0, 1), repeat=3):
            for seen in product(*(_SEEN[odd] for odd in phase)):
                further, place = zip(*seen, strict=True)
                kernels[(*phase, ..., *further)] = whole[(..., *place)]
        self.weight = nn.Parameter(kernels.flatten(0, 3))
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().repeat(8))

    def forward(self, image: Tensor) -> Tensor:
        """Return shape (batch, out, 2i, 2j, 2k) for (batch, in, i, j, k)."""
        # Padded on both sides, and the first left out: to pad on one side alone would copy the image.
        phases = functional.conv3d(image, self.weight, self.bias, padding=1)[:, :, 1:, 1:, 1:]
        # Channels last, as the fast kernels leave it: then the phases are put between each other in one copy.
        last = phases.permute(0, 2, 3, 4, 1)
        batch, i, j, k, count = last.shape
        apart = last.reshape(batch, i, j, k, 2, 2, 2, count // 8)
        joined = apart.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, 2 * i, 2 * j, 2 * k, count // 8)
        return joined.permute(0, 4, 1, 2, 3)


def replaceable(network: nn.Module) -> Iterator[tuple[nn.Sequential, str, nn.ConvTranspose3d]]:
    """Yield transposed convolutions into few channels, with the chain that calls each and its name there.

    Only where a chain calls it: that gives it an image and nothing else.
    """
    for chain in network.modules():
        if isinstance(chain, nn.Sequential) and is_chain(chain):
            for name, layer in chain.named_children():
                if type(layer) is nn.ConvTranspose3d and layer.out_channels <= _FEW and _doubles(layer):
                    yield chain, name, layer


def by_phases(network: nn.Module) -> None:
    """Replace what `replaceable` yields."""
    for chain, name, layer in list(replaceable(network)):
        setattr(chain, name, Phases(layer))


def _doubles(layer: nn.ConvTranspose3d) -> bool:
    return layer.padding_mode == "zeros" and all(getattr(layer, name) == value for name, value in _DOUBLING.items())
