"""Make a version of a bundle's network MONAI's own again: the files in which it differs from the bundle."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from configs.wire.export import Exported, ExportRequest
from configs.wire.host import Ready
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import COUNTS, NETWORK, Bundle, Config
from tasks.compute.loader.faults import trying
from tasks.compute.loader.network import build_network, load_state
from tasks.compute.loader.outputs import outputs_of
from tasks.compute.prompts.network import Prompted

_WEIGHTS = "models/model.pt"
_PATH = f"$@bundle_root + '/{_WEIGHTS}'"


def run(request: ExportRequest, control: Control) -> None:
    """Answer an export."""
    control.say(Ready())
    control.say(export(Bundle(Path(request.bundle)), request))


def export(bundle: Bundle, request: ExportRequest) -> Exported:
    """Write weights, and the configuration that builds their network and loads them; return the files' names.

    Raises:
        BadInputError: If the weights do not fit the bundle.
        BundleFaultError: If what is written in its configuration cannot build the network that was trained.
    """
    config, out = bundle.inference(), Path(request.out)
    network, channels = build_network(bundle, config, labels=request.labels, weights=Path(request.weights))
    weights = out / _WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.cpu() for name, value in network.state_dict().items()}, weights)
    names = [_WEIGHTS, _describe(bundle, channels, request.version, out)]
    old, new = outputs_of(bundle, bundle.inference()).count, len(channels.names)
    counts = (old, new) if channels.rebuilt else None
    run = bundle.inference_file()
    files = dict.fromkeys(filter(None, (run, bundle.file("train"))))
    asked = _asked(network, channels)
    names += [_configure(bundle, file, counts, out, asked if file == run else None) for file in files]
    _prove(bundle, out / run.relative_to(bundle.folder), weights)
    return Exported(files=names)


def _describe(bundle: Bundle, channels: Channels, version: str, out: Path) -> str:
    """Write the metadata: a version of its own, weights in a file, and what a new last layer's channels are."""
    file = bundle.folder / "configs" / "metadata.json"
    said: dict[str, Any] = json.loads(file.read_bytes())
    said["version"] = f"{said.get('version', '0.0.0')}+{version}"
    said.pop("weights", None)
    if channels.rebuilt:
        outputs = said.setdefault("network_data_format", {}).setdefault("outputs", {})
        answer = outputs.setdefault("pred" if "pred" in outputs else next(iter(outputs), "pred"), {})
        answer["num_channels"] = len(channels.names)
        answer["channel_def"] = {str(channel): name for channel, name in enumerate(channels.names)}
    target = _target(file, bundle, out)
    target.write_text(json.dumps(said, indent=2))
    return target.relative_to(out).as_posix()


def _asked(network: nn.Module, channels: Channels) -> dict[str, list[int]]:
    """Return which classes of a network that takes prompts are asked for, and the label that each is written as."""
    if not isinstance(network, Prompted):
        return {}
    label_of: dict[int, int] = {}
    for number, label in zip(network.classes, channels.labels, strict=True):
        for part in network.prompts.parts_of(number):
            label_of.setdefault(part, label)
    return {"label_prompt": list(label_of), "label_values": list(label_of.values())}


def _configure(
    bundle: Bundle, file: Path, counts: tuple[int, int] | None, out: Path, asked: dict[str, list[int]] | None
) -> str:
    """Write a configuration with other numbers of outputs, if they are others.

    Args:
        bundle: Whose it is.
        file: What it is made from.
        counts: The old and the new number.
        out: The folder to write to.
        asked: Ids that have other values, where the weights are to be loaded, too; None = they are not.
    """
    parser = ConfigParser()
    parser.read_config(str(file))
    written: dict[str, Any] = parser.get()
    if counts is not None:
        for name in (name for name in COUNTS if name in parser):
            parser.set(counts[1], name)
        for part in _parts(written):
            if part.get("to_onehot") is not None:
                part["to_onehot"] = _recounted(part["to_onehot"], *counts)
    if asked is not None:
        written.update({name: value for name, value in asked.items() if name in parser})
        _load_ours(written, next((name for name in NETWORK if name in parser), NETWORK[0]))
    target = _target(file, bundle, out)
    if file.suffix == ".json":
        ConfigParser.export_config_file(written, str(target), fmt="json", indent=2)
    else:
        ConfigParser.export_config_file(written, str(target), fmt="yaml", sort_keys=False)
    return target.relative_to(out).as_posix()


def _load_ours(written: dict[str, Any], network: str) -> None:
    """Have every loader of weights load ours; where there is none, load them before it runs."""
    written.setdefault("bundle_root", ".")
    loaders = [part for part in _parts(written) if str(part.get("_target_")).rpartition(".")[2] == "CheckpointLoader"]
    for loader in loaders:
        loader["load_path"] = _PATH
        loader.pop("_disabled_", None)
    if not loaders:
        before = written.get("initialize") or []
        place = "@device" if "device" in written else "'cpu'"
        read = f"torch.load({_PATH.removeprefix('$')}, map_location={place}, weights_only=True)"
        written["initialize"] = [
            *(before if isinstance(before, list) else [before]),
            f"$@{network}.load_state_dict({read})",
        ]


def _prove(bundle: Bundle, config: Path, weights: Path) -> None:
    """Build the network from what was written, as MONAI will, and load the weights into it.

    Raises:
        BundleFaultError: If that is another network.
    """
    with trying("Its exported configuration cannot be built", bundle):
        network = Config(config, root=bundle.folder, overrides={}).build(*NETWORK)
    try:
        if isinstance(network, nn.Module):
            load_state(network, weights)
            return
    except BadInputError:
        pass
    raise BundleFaultError(
        "Its network was given another last layer for the experiment's labels, and its configuration names no number of"
        " outputs that would say so: MONAI cannot build it"
    )


def _parts(written: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a configuration, at every depth."""
    if isinstance(written, dict):
        yield written
    for inner in written.values() if isinstance(written, dict) else written if isinstance(written, list) else ():
        yield from _parts(inner)


def _recounted(written: Any, old: int, new: int) -> Any:
    """Return a `to_onehot`, of one key or of several, in which the number of outputs is the new one."""
    if isinstance(written, list):
        return [_recounted(one, old, new) for one in written]
    return new if written == old and not isinstance(written, bool) else written


def _target(file: Path, bundle: Bundle, out: Path) -> Path:
    target = out / file.relative_to(bundle.folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
