"""Say what a bundle is: read, instantiate, and run it once."""

import resource
import time
from pathlib import Path

import torch
from torch import nn

from configs.wire.host import CheckRequest, CheckResult, Ready
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, BundleFaultError
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
    head, head_refusal = try_head(bundle, training or bundle.inference(), network)
    return CheckResult(
        tier=tier,
        reason=reason,
        labels=channels.foreground,
        inputs=list(bundle.metadata.network_data_format.inputs) or ["image"],
        key_metric=_key_metric(training),
        head=head[:1000],
        head_refusal=head_refusal[:1000],
        has_weights=own_weights(bundle) is not None,
        weights_policy="file" if own_weights(bundle) is not None else "random",
        seed=bundle.metadata.seed,
        missing=missing_packages(bundle),
        forward_s=seconds,
        peak_mib=_peak_mib(),
        patch=list(example.shape[2:]),
        training_keys=bundle.training_keys(),
    )


def try_head(bundle: Bundle, config: Config, network: nn.Module) -> tuple[str, str]:
    """Build the network for one label more than the bundle has, and run it.

    Args:
        bundle: The bundle.
        config: What it is trained with, nothing of it built yet.
        network: Its network as it is.

    Returns:
        The layers that had to be made anew, and nothing; or nothing, and why it cannot be done.
    """
    labels = {index: f"label {index}" for index in range(1, len(bundle.metadata.labels) + 2)}
    try:
        other, channels = build_network(bundle, config, labels=labels, weights=None)
        with torch.inference_mode():
            answer = first_tensor(other.eval()(probe(bundle, config).to(device())))
    except (BundleFaultError, BadInputError) as error:
        return "", str(error)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # the network's own, of whatever it asserts
        return "", f"{type(network).__name__}: it cannot be built for other labels ({type(error).__name__})"
    if answer.shape[1] != len(channels.names):
        return "", f"{type(network).__name__}: asked for {len(channels.names)} outputs it has {answer.shape[1]}"
    before = {name: value.shape for name, value in network.state_dict().items()}
    changed = [name for name, value in other.state_dict().items() if before.get(name) != value.shape]
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in changed)), ""


def _key_metric(training: Config | None) -> str | None:
    """Return the name of the metric by which the bundle's authors judge it."""
    written = training.raw("validate#key_metric") if training else None
    return next(iter(written), None) if isinstance(written, dict) else None


def _peak_mib() -> float:
    """Return the largest memory used so far, of the accelerator if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / _MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
