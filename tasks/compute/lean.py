"""Start sooner: import MONAI without the optional packages that a bundle host never uses.

MONAI imports whatever optional package it finds; plotting, tracking and tables cost more than half of its import.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_UNUSED = frozenset(
    {
        "IPython",
        "clearml",
        "huggingface_hub",
        "jsonschema",
        "matplotlib",
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
    """Answers for the unused packages that they are not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse an unused package; leave the others to the next finder."""
        del path, target
        if fullname.partition(".")[0] in _UNUSED:
            raise ModuleNotFoundError(f"{fullname} is not used in a bundle host", name=fullname)
        return None


@contextmanager
def _without_unused() -> Iterator[None]:
    finder = _Absent()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def import_monai() -> None:
    """Import MONAI; afterwards the packages left out can be imported again."""
    importlib.import_module("torch")
    with _without_unused():
        importlib.import_module("monai")
