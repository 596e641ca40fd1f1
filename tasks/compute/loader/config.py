"""A bundle's folder: its metadata and its configuration files, read but not yet instantiated."""

import re
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from pydantic import BaseModel, ConfigDict, Field

from configs.specs.overrides import fault_of
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.keys import keys_of

_SUFFIXES = (".json", ".yaml", ".yml")
# They write files, log or track; what a host writes is decided by its request alone.
_DROPPED = frozenset(
    {"SaveImage", "SaveImaged", "SaveImageD", "SaveImageDict", "SaveClassification", "SaveClassificationd"}
)
_OUTPUTS = ("out_channels", "num_classes", "n_classes", "n_class")
_RANDOM = re.compile(r"random\((\d+)\)")


class DataFormat(BaseModel):
    """One input or output of a network, as far as we use it."""

    model_config = ConfigDict(extra="ignore")

    num_channels: int | None = None
    spatial_shape: list[int | str] = []
    channel_def: dict[int, str] = {}


class NetworkFormat(BaseModel):
    """A network's inputs and outputs by name."""

    model_config = ConfigDict(extra="ignore")

    inputs: dict[str, DataFormat] = {}
    outputs: dict[str, DataFormat] = {}


class Metadata(BaseModel):
    """`configs/metadata.json`, as far as we use it."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    weights: str = ""
    required_packages_version: dict[str, str] = {}
    network_data_format: NetworkFormat = Field(default_factory=NetworkFormat)

    @property
    def seed(self) -> int | None:
        """The seed of `weights: random(seed)`, or None where weights come in a file."""
        found = _RANDOM.fullmatch(self.weights.replace(" ", ""))
        return int(found[1]) if found else None

    @property
    def image_key(self) -> str:
        """The network's first input."""
        return next(iter(self.network_data_format.inputs), "image")

    @property
    def prediction(self) -> DataFormat:
        """The network's first output."""
        return next(iter(self.network_data_format.outputs.values()), DataFormat())

    @property
    def labels(self) -> dict[int, str]:
        """Names by output channel, without the background."""
        named = self.prediction.channel_def.items()
        return {channel: name for channel, name in sorted(named) if name.strip().lower() != "background"}


class Config:
    """One configuration file, its overrides set before anything is resolved.

    MONAI forgets what it has built when a value is set after the first resolve: a second network would appear.
    So overrides are given here, and all but the network's number of outputs are set now.
    """

    def __init__(self, file: Path, *, root: Path, overrides: Mapping[str, Any]) -> None:
        parser = ConfigParser()
        parser.read_config(str(file))
        scratch = tempfile.mkdtemp()
        ours = {"bundle_root": str(root), "device": device(), "output_dir": scratch}
        if "dataset_dir" in parser:
            ours["dataset_dir"] = scratch
        for name, value in {**overrides, **ours}.items():
            parser.set(value, name, recursive=True)
        with chdir(root):  # `%configs/other.json#id` is meant from there
            parser.resolve_macro_and_relative_ids()
        _drop_writers(parser.get())
        self._parser = parser
        self._built = False

    def give_outputs(self, count: int) -> bool:
        """Have the network built with so many outputs; False where its definition does not name their number.

        Raises:
            BundleFaultError: If something has been built already.
        """
        if self._built:
            raise BundleFaultError("The number of outputs must be set before anything is built")
        names = [f"network_def#{name}" for name in _OUTPUTS]
        found = self.find(*names)
        if found is None:
            return False
        self._parser.set(count, found)
        return True

    def find(self, *names: str) -> str | None:
        """Return the first of these ids that the file has."""
        return next((name for name in names if name in self._parser), None)

    def raw(self, name: str) -> Any:
        """Return what is written at an id, not instantiated; None where nothing is."""
        return self._parser.get(name) if name in self._parser else None

    def build(self, *names: str) -> Any:
        """Return what the first of these ids stands for, instantiated once; None where nothing is."""
        found = self.find(*names)
        self._built = self._built or found is not None
        return None if found is None else self._parser.get_parsed_content(found)


class Bundle:
    """A bundle's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        file = self.folder / "configs" / "metadata.json"
        if not file.is_file():
            raise BundleFaultError("The bundle has no configs/metadata.json")
        self.metadata = Metadata.model_validate_json(file.read_bytes())
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))  # its own `scripts`

    def file(self, *names: str) -> Path | None:
        """Return the first of these configuration files that exists, with whatever suffix."""
        candidates = (self.folder / "configs" / f"{name}{suffix}" for name in names for suffix in _SUFFIXES)
        return next((file for file in candidates if file.is_file()), None)

    def inference(self, overrides: Mapping[str, Any] | None = None) -> Config:
        """Return the inference configuration.

        Raises:
            BundleFaultError: If there is none.
        """
        file = self.file("inference", "inference_autoencoder", "train")
        if file is None:
            raise BundleFaultError("The bundle has no configs/inference.json or .yaml")
        return Config(file, root=self.folder, overrides=overrides or {})

    def training(self, overrides: Mapping[str, Any] | None = None) -> Config | None:
        """Return the training configuration, or None where there is none."""
        file = self.file("train")
        return None if file is None else Config(file, root=self.folder, overrides=overrides or {})

    def training_keys(self) -> list[str]:
        """Return the ids of the training configuration that an override may name; none where there is none."""
        file = self.file("train")
        return [] if file is None else keys_of(ConfigParser.load_config_file(str(file)))


def device() -> torch.device:
    """Return where networks run on this machine."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def check_overrides(overrides: Mapping[str, Any], known: Collection[str] = ()) -> Mapping[str, Any]:
    """Return overrides that come from a request, if they are plain data, of ids among the known ones if any are.

    Raises:
        BadInputError: If one would be executed (a `$` expression, a macro, or something to instantiate), or would
            change nothing because the bundle has no such id.
    """
    fault = fault_of(overrides, known)
    if fault:
        raise BadInputError(fault)
    return overrides


def _drop_writers(value: Any) -> None:
    """Remove, in place and at every depth, list entries that would write files."""
    if isinstance(value, dict):
        for inner in value.values():
            _drop_writers(inner)
    elif isinstance(value, list):
        value[:] = [entry for entry in value if not _writes(entry)]
        for inner in value:
            _drop_writers(inner)


def _writes(entry: Any) -> bool:
    return isinstance(entry, dict) and str(entry.get("_target_", "")).rpartition(".")[2] in _DROPPED
