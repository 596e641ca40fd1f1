"""Say what a bundle is: read, instantiate, and run it once."""

import resource
import time
from pathlib import Path

import torch

from configs.wire.host import CheckRequest, CheckResult, Ready
from tasks.compute.control import Control
from tasks.compute.failures import BundleFaultError
from tasks.compute.loader.config import Bundle, Config, device
from tasks.compute.loader.network import build_network, first_tensor, own_weights, probe
from tasks.compute.loader.tier import missing_packages, tier_of

_MIB = 2**20


def run(request: CheckRequest, control: Control) -> None:
    """Answer a check."""
    control.say(Ready())
    control.say(check(Bundle(Path(request.bundle))))


def check(bundle: Bundle) -> CheckResult:
    """Instantiate what a bundle has, run its network once, and return what was found.

    Raises:
        BundleFaultError: If it cannot even predict: no weights, no network, no transforms.
    """
    config = bundle.inference()
    network, channels = build_network(bundle, config, labels=None, weights=None)
    for needed in ("preprocessing", "pre_transforms"), ("inferer",):
        if config.find(*needed) is None:
            raise BundleFaultError(f"Its inference configuration has no {needed[0]}")
        config.build(*needed)
    example = probe(bundle, config).to(device())
    network.eval()
    with torch.inference_mode():
        first_tensor(network(example))
        start = time.perf_counter()
        answer = first_tensor(network(example))
        seconds = time.perf_counter() - start
    if answer.shape[1] != len(channels.names):
        raise BundleFaultError(
            f"Its network answers {answer.shape[1]} channels, its metadata names {len(channels.names)}"
        )
    training = bundle.training()
    tier, reason = tier_of(training)
    return CheckResult(
        tier=tier,
        reason=reason,
        labels=channels.foreground,
        inputs=list(bundle.metadata.network_data_format.inputs) or ["image"],
        key_metric=_key_metric(training),
        has_weights=own_weights(bundle) is not None,
        weights_policy="file" if own_weights(bundle) is not None else "random",
        seed=bundle.metadata.seed,
        missing=missing_packages(bundle),
        forward_s=seconds,
        peak_mib=_peak_mib(),
        patch=list(example.shape[2:]),
    )


def _key_metric(training: Config | None) -> str | None:
    """Return the name of the metric by which the bundle's authors judge it."""
    written = training.raw("validate#key_metric") if training else None
    return next(iter(written), None) if isinstance(written, dict) else None


def _peak_mib() -> float:
    """Return the largest memory used so far, of the accelerator if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / _MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
