"""How many MiB of a graphics processor something takes, from what was measured."""

from infra.adapters.catalog.slots import Published
from infra.adapters.catalog.tables import Bundle
from infra.wiring import Parts
from tasks.devices.claims import Need

CONTEXT_MIB = 600.0  # what CUDA itself takes in a process
# The next training meets larger images, and allocators keep what they once took.
MARGIN = 1.2
TRAINING = 4.0  # of a forward's peak: activations kept for the gradient, gradients, the optimizer's two moments
_MIB = 2**20


def slot_need(parts: Parts, published: Published | None) -> Need:
    """Two versions while they are swapped, and one forward; at the least one version."""
    if published is None:
        return Need("live", CONTEXT_MIB, CONTEXT_MIB)
    weights_mib, peak = _size(parts, published.weights), _peak(parts, published.bundle_id)
    return Need("live", CONTEXT_MIB + 2 * weights_mib + peak, CONTEXT_MIB + weights_mib + peak)


def training_need(parts: Parts, bundle_id: str, measured_mib: float = 0.0) -> Need:
    """What the last training took, where it was measured, else a multiple of the check's forward; and a fifth more."""
    return Need("train", (measured_mib or CONTEXT_MIB + TRAINING * _peak(parts, bundle_id)) * MARGIN)


def batch_need(parts: Parts, bundle_id: str, weights: str | None) -> Need:
    """One version and one forward."""
    return Need("batch", CONTEXT_MIB + _size(parts, weights) + _peak(parts, bundle_id))


def _peak(parts: Parts, bundle_id: str) -> float:
    with parts.catalog.read() as session:
        check = session.get_one(Bundle, bundle_id).check
    return float(check.get("peak_mib", 0.0))


def _size(parts: Parts, weights: str | None) -> float:
    return parts.blobs.path(weights).stat().st_size / _MIB if weights is not None else 0.0
