"""Say what a bundle is: read, instantiate, and run it once."""

import resource
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from configs.wire.check import CheckRequest, CheckResult
from configs.wire.host import Ready
from tasks.compute.apps.load import orders_of
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, BundleFaultError, is_memory
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import DETECTOR_OPS, INFERER, POSTPROCESSING, PREPROCESSING, Bundle, Config, device
from tasks.compute.loader.faults import because, trying
from tasks.compute.loader.network import build_network, first_tensor, own_weights, probe
from tasks.compute.loader.outputs import Outputs, outputs_of
from tasks.compute.loader.pictures import PICTURE_MODES
from tasks.compute.loader.tier import command_for, missing, tier_of
from tasks.compute.prompts.classes import prompts_of
from tasks.compute.prompts.network import Prompted

_MIB = 2**20
# The first ones name what is missing; a folder of thousands must not hold up a registration.
_MOST_FILES = 20
_MADE_UP = 96
"""The most voxels of a made-up image along an axis."""
# With one class there is nothing to tell apart, and a softmax over it is always 1.
_FEWEST_CLASSES = 2
_FILE_NAME = "output_filename"
_CLASSES = "class_head.class_embeddings"
"""Where a network that takes prompts keeps what it knows of a class: it has some to spare, so none is made anew."""


def run(request: CheckRequest, control: Control) -> None:
    """Answer a check."""
    control.say(Ready())
    control.say(check(Bundle(Path(request.bundle))))


def check(bundle: Bundle) -> CheckResult:
    """Instantiate what a bundle has, run its network once, and return what was found.

    Raises:
        BundleFaultError: If it cannot even predict: packages, weights, network or transforms are missing or fail.
    """
    needed = missing(bundle.metadata.required_packages_version)
    if needed:
        raise BundleFaultError(f"The bundle needs packages that are not installed here: {command_for(needed)}")
    config = bundle.inference()
    outputs = outputs_of(bundle, config)
    with trying("Its network cannot be built", bundle):
        network, channels = build_network(bundle, config, labels=None, weights=None)
    _build_steps(bundle, config)
    example = probe(bundle, config).to(device())
    with trying(f"Its network cannot be run on zeros of {' x '.join(map(str, example.shape))}", bundle):
        answer, seconds = _run_twice(network.eval(), example)
    _fits(outputs, answer, example)
    if outputs.kind != "boxes" and answer.shape[1] != len(channels.names):
        raise BundleFaultError(f"Its network answers {answer.shape[1]} channels, it names {len(channels.names)}")
    failed = try_image(bundle, config, network, channels)
    training = bundle.training()
    tier, reason = tier_of(training)
    head, head_refusal = try_head(bundle, training or bundle.inference(), network)
    return CheckResult(
        tier=tier,
        reason=reason,
        labels=outputs.labels,
        answers=outputs.kind,
        answer_file=_answer_file(config),
        notes=[note[:1000] for note in (outputs.doubt, failed) if note],
        inputs=list(bundle.metadata.network_data_format.inputs) or ["image"],
        key_metric=_key_metric(training),
        head=head[:1000],
        head_refusal=head_refusal[:1000],
        takes_prompts=isinstance(network, Prompted),
        has_weights=own_weights(bundle) is not None,
        weights_policy="file" if own_weights(bundle) is not None else "random",
        seed=bundle.metadata.seed,
        missing=missing(bundle.metadata.optional_packages_version),
        forward_s=seconds,
        peak_mib=_peak_mib(),
        patch=list(example.shape[2:]),
        training_keys=bundle.training_keys(),
        config_files=_keys_by_file(bundle),
        orders=orders_of(bundle.folder),
    )


def _fits(outputs: Outputs, answer: Tensor, example: Tensor) -> None:
    """Refuse a network whose answer is not of the kind that its metadata say."""
    if outputs.kind == "class" and outputs.count < _FEWEST_CLASSES:
        raise BundleFaultError("It tells one class of the whole image: to tell any, it has to have two outputs or more")
    if outputs.kind == "class" and answer[0].numel() != answer.shape[1]:
        raise BundleFaultError("Its metadata say that it tells a class of the whole image, and its network does not")
    if outputs.kind == "mask" and answer.ndim != example.ndim:
        raise BundleFaultError(
            "Its network tells a class of the whole image, and its metadata do not say so: write"
            ' "format": "classes" for its output in configs/metadata.json'
        )


def _answer_file(config: Config) -> str:
    """Return what the bundle calls a file of its answers; empty if it says nothing that is a plain name."""
    written = config.raw(_FILE_NAME)
    return written[:200] if isinstance(written, str) and not written.startswith(("$", "@", "%")) else ""


def _build_steps(bundle: Bundle, config: Config) -> None:
    """Build what is done before, with, and after the network; raises BundleFaultError if that fails."""
    steps = {"detector": (DETECTOR_OPS,), "preprocessing": PREPROCESSING}
    for what, ids in {**steps, "inferer": INFERER, "postprocessing": POSTPROCESSING}.items():
        with trying(f"Its {what} cannot be built", bundle):
            built = config.build(*ids)
        if what == "preprocessing" and built is None:
            raise BundleFaultError("Its inference configuration has no preprocessing")


def _run_twice(network: nn.Module, example: Tensor) -> tuple[Tensor, float]:
    """Return the network's answer and the seconds of its second run."""
    with torch.inference_mode():
        first_tensor(network(example))
        start = time.perf_counter()
        answer = first_tensor(network(example))
        return answer, time.perf_counter() - start


def try_image(bundle: Bundle, config: Config, network: nn.Module, channels: Channels) -> str:
    """Predict a made-up image, in every step that a request goes through.

    Returns:
        Why it failed; empty if it did not. That is no refusal: a bundle may need what only a real image has.
    """
    predictor = Predictor(bundle, config, channels, cache=None, arrangement=Arrangement())
    shape = [min(extent, _MADE_UP) for extent in probe(bundle, config).shape[2:]]
    with TemporaryDirectory() as folder:
        files = _made_up(Path(folder), shape, bundle.metadata.image.num_channels or 1)
        attempts = [files[:1], files] if len(files) > 1 else [files]
        said = [_tried(predictor, network, attempt, bundle) for attempt in attempts]
    return "" if "" in said else said[-1]


def _made_up(folder: Path, shape: list[int], channels: int) -> list[str]:
    """Write noise as a picture where a network takes such, else as a volume for each channel; return the files."""
    random = np.random.default_rng(0)
    if len(shape) == 2 and channels in PICTURE_MODES:  # noqa: PLR2004 (column and row)
        pixels = random.integers(0, 256, (shape[1], shape[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "0.png")
        return [str(folder / "0.png")]
    files = [str(folder / f"{number}.nii") for number in range(channels)]
    for file in files:
        nib.save(nib.Nifti1Image(random.normal(size=shape).astype(np.float32), np.eye(4)), file)
    return files


def _tried(predictor: Predictor, network: nn.Module, files: list[str], bundle: Bundle) -> str:
    try:
        predictor.predict(network, files)
    except Exception as error:  # whatever a bundle's own code raises
        if is_memory(error):
            raise
        return f"Its inference was tried on a made-up image, and failed: {because(error, bundle)}"
    return ""


def try_head(bundle: Bundle, config: Config, network: nn.Module) -> tuple[str, str]:
    """Build the network for one label more than the bundle has, and run it.

    Args:
        bundle: The bundle.
        config: What it is trained with, nothing of it built yet.
        network: Its network as it is.

    Returns:
        The layers that had to be made anew, and nothing; or nothing, and why it cannot be done.
    """
    if prompts_of(bundle.inference()) is not None:
        return _CLASSES, ""
    more = len(outputs_of(bundle, bundle.inference()).names) + 1
    labels = {index: f"other label {index}" for index in range(1, more + 1)}
    try:
        other, channels = build_network(bundle, config, labels=labels, weights=None)
        with torch.inference_mode():
            answer = first_tensor(other.eval()(probe(bundle, config).to(device())))
    except (BundleFaultError, BadInputError) as error:
        return "", str(error)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # the network's own, of whatever it asserts
        return "", f"{type(network).__name__}: it cannot be built for other labels ({type(error).__name__})"
    if channels.kind != "boxes" and answer.shape[1] != len(channels.names):
        return "", f"{type(network).__name__}: asked for {len(channels.names)} outputs it has {answer.shape[1]}"
    before = {name: value.shape for name, value in network.state_dict().items()}
    changed = [name for name, value in other.state_dict().items() if before.get(name) != value.shape]
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in changed)), ""


def _keys_by_file(bundle: Bundle) -> dict[str, list[str]]:
    """Return the ids of each file that a training may name; one that cannot be read is none of them."""
    found = dict[str, list[str]]()
    for name in bundle.config_files()[:_MOST_FILES]:
        with suppress(Exception):  # of whatever kind: it may be no configuration at all
            found[name] = bundle.training_keys([name])
    return found


def _key_metric(training: Config | None) -> str | None:
    """Return the name of the metric by which the bundle's authors judge it."""
    written = training.raw("validate#key_metric") if training else None
    return next(iter(written), None) if isinstance(written, dict) else None


def _peak_mib() -> float:
    """Return the largest memory used so far, of the accelerator if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / _MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
