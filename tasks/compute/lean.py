"""Start sooner, and smaller: import libraries without the optional packages that a bundle host never uses.

MONAI imports whatever optional package it finds; plotting, tracking and tables cost more than half of its import. So
does TorchMetrics, which Lightning imports. What a bundle imports itself it finds, since that comes later.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError
from types import ModuleType

_PLOTS = frozenset({"matplotlib"})
"""What TorchMetrics looks for. Not the others: of some, Lightning asks whether they are there, and takes no refusal."""
_UNUSED = _PLOTS | frozenset(
    {
        "IPython",
        "clearml",
        "huggingface_hub",
        "jsonschema",
        "mlflow",
        "nvidia",
        "onnx",
        "onnxruntime",
        "pandas",
        "pyarrow",
        "pydicom",  # a host's images are NIfTI and NRRD: others are read before it sees them
        "pynvml",
        "sklearn",
        "tensorboard",
        "tensorboardX",
        "transformers",
    }
)


class _Absent(MetaPathFinder):
    """Answers for some packages that they are not installed."""

    def __init__(self, packages: frozenset[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse an unused package; leave the others to the next finder."""
        del path, target
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"{fullname} is not used in a bundle host", name=fullname)
        return None

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """Say the same to who looks for the version that is installed."""
        if context.name in self._packages:
            raise PackageNotFoundError(context.name)
        return iter(())


@contextmanager
def _without(packages: frozenset[str]) -> Iterator[None]:
    finder = _Absent(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def import_monai() -> None:
    """Import MONAI; afterwards the packages left out can be imported again."""
    importlib.import_module("torch")
    with _without(_UNUSED):
        importlib.import_module("monai")


def import_handler(name: str) -> ModuleType:
    """Import a module of ours that may import Lightning: 22 MB of matplotlib would come with it, and nobody plots."""
    with _without(_PLOTS):
        return importlib.import_module(name)
