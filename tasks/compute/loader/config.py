"""A bundle's folder: its metadata and its configuration files, read but not yet instantiated."""

import re
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from pydantic import ValidationError

from configs.specs.overrides import fault_of
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.keys import keys_of
from tasks.compute.loader.metadata import Metadata

_SUFFIXES = (".json", ".yaml", ".yml")
# They write files, log, track or load weights; what a host writes and starts from is decided by its request alone.
WRITER = re.compile(
    r"Save[A-Z]\w*|\w*Saver|CheckpointLoader|\w*StatsHandler|TensorBoard\w*|MLFlowHandler|ClearML\w*|LogfileHandler"
    r"|ProbMapProducer"
)
# Where a part of a bundle is found: under MONAI's own id, an older one, or whatever its evaluator or data set names.
NETWORK = ("network", "network_def", "evaluator#network", "train#trainer#network")
PREPROCESSING = ("preprocessing", "pre_transforms", "dataset#transform")
INFERER = ("inferer", "evaluator#inferer")
POSTPROCESSING = ("postprocessing", "post_transforms", "evaluator#postprocessing")
DETECTOR, DETECTOR_OPS = "detector", "detector_ops"
COUNTS = tuple(f"network_def#{name}" for name in ("out_channels", "num_classes", "n_classes", "n_class"))


class Config:
    """A configuration of one file or of several, merged, its overrides set before anything is resolved.

    MONAI forgets what it has built when a value is set after the first resolve: a second network would appear.
    So overrides are given here, and all but the network's number of outputs are set now.
    """

    def __init__(self, *files: Path, root: Path, overrides: Mapping[str, Any]) -> None:
        parser, named = ConfigParser(), " and ".join(file.name for file in files)
        try:
            parser.read_config([str(file) for file in files])
        except Exception as error:  # a YAML library's errors have no parent but this
            raise BundleFaultError(f"{named} cannot be read: {type(error).__name__}") from error
        scratch = tempfile.mkdtemp()
        ours = {"bundle_root": str(root), "device": device(), "output_dir": scratch}
        if "dataset_dir" in parser:
            ours["dataset_dir"] = scratch
        for name, value in {**overrides, **ours}.items():
            parser.set(value, name, recursive=True)
        try:
            with chdir(root):  # `%configs/other.json#id` is meant from there
                parser.resolve_macro_and_relative_ids()
        except (OSError, ValueError, KeyError) as error:
            raise BundleFaultError(f"{named} takes in another file or id that is not there: {error}") from error
        _drop(parser.get(), WRITER)
        self._parser = parser
        self._ours = frozenset(ours)
        self._built = False

    def give_outputs(self, count: int) -> bool:
        """Have the network built with so many outputs; False where its definition does not name their number.

        Raises:
            BundleFaultError: If something has been built already.
        """
        if self._built:
            raise BundleFaultError("The number of outputs must be set before anything is built")
        found = self.find(*COUNTS)
        if found is None:
            return False
        self._parser.set(count, found)
        return True

    def leave_out(self, component: str) -> None:
        """Have no list built with this component, before anything is built."""
        _drop(self._parser.get(), re.compile(re.escape(component)))

    def find(self, *names: str) -> str | None:
        """Return the first of these ids that the file has."""
        return next((name for name in names if name in self._parser), None)

    def raw(self, name: str) -> Any:
        """Return what is written at an id, not instantiated; None where nothing is."""
        return self._parser.get(name) if name in self._parser else None

    def value(self, *names: str) -> Any:
        """Return the plain value of the first of these ids, references and expressions worked out; None without one.

        Nothing may be built of it: what is set later builds everything anew.
        """
        found = self.find(*names)
        return None if found is None else self._parser.get_parsed_content(found)

    def recipe(self, *names: str) -> Any:
        """Return what the first of these ids is made of, as it is written; all there is where it names another id."""
        found = self.find(*names)
        written = self.raw(found) if found else None
        if not isinstance(written, str):
            return written
        return {name: part for name, part in self._parser.get().items() if name not in self._ours}

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
        try:
            self.metadata = Metadata.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise BundleFaultError("configs/metadata.json is no JSON object of the MONAI bundle's form") from error
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
        return Config(self.inference_file(), root=self.folder, overrides=overrides or {})

    def inference_file(self) -> Path:
        """Return the file of the inference configuration; raises as `inference`."""
        file = self.file("inference", "inference_autoencoder", "train")
        if file is None:
            raise BundleFaultError("The bundle has no configs/inference.json or .yaml")
        return file

    def training(self, overrides: Mapping[str, Any] | None = None, named: Sequence[str] = ()) -> Config | None:
        """Return the training configuration, or None where there is none.

        Args:
            overrides: Values by id.
            named: Its files, below the bundle's folder, each over the one before; none = the bundle's own.

        Raises:
            BadInputError: If the bundle has no such file.
        """
        files = self._training_files(named)
        return Config(*files, root=self.folder, overrides=overrides or {}) if files else None

    def training_keys(self, named: Sequence[str] = ()) -> list[str]:
        """Return the ids of these files that an override may name, each once; raises as `training`."""
        written = (ConfigParser.load_config_file(str(file)) for file in self._training_files(named))
        return [*dict.fromkeys(key for one in written for key in keys_of(one))]

    def config_files(self) -> list[str]:
        """Return the files that a training may name: all of `configs` but the metadata."""
        found = (file for suffix in _SUFFIXES for file in (self.folder / "configs").glob(f"*{suffix}"))
        return sorted(file.relative_to(self.folder).as_posix() for file in found if file.name != "metadata.json")

    def _training_files(self, named: Sequence[str]) -> list[Path]:
        known = self.config_files()
        for name in named:
            if name not in known:
                raise BadInputError(f"The bundle has no configuration {name!r}; it has {', '.join(known)}")
        own = self.file("train")
        return [self.folder / name for name in named] or ([own] if own else [])


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


def _drop(value: Any, names: re.Pattern[str]) -> None:
    """Remove, in place and at every depth, list entries whose component's name is one of these."""
    if isinstance(value, dict):
        for inner in value.values():
            _drop(inner, names)
    elif isinstance(value, list):
        value[:] = [entry for entry in value if not _is_one(entry, names)]
        for inner in value:
            _drop(inner, names)


def _is_one(entry: Any, names: re.Pattern[str]) -> bool:
    return isinstance(entry, dict) and bool(names.fullmatch(str(entry.get("_target_", "")).rpartition(".")[2]))
