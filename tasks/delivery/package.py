"""A model version as MLflow's registry has it: a folder that `mlflow.pyfunc` loads on a machine without Teachback.

It holds the weights, the bundle without its own, and our modules that predict, under a name made from their content:
two versions of them load side by side.
"""

import ast
import hashlib
import json
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from configs.errors import NotFoundError
from infra.adapters.catalog.tables import Experiment, ModelVersion
from infra.adapters.tracking.base import Files
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder

_ROOT = Path(__file__).parents[2]
_OURS = ("configs", "tasks")
_LOADER = "tasks.compute.inference.elsewhere"
_OUR_IMPORT = re.compile(r"^(\s*)(from|import) (configs|tasks)\b", re.MULTILINE)
_NEEDED = ("torch", "monai", "numpy", "scipy", "nibabel", "safetensors", "pydantic")
_WEIGHTS = frozenset({".pt", ".pth", ".ts", ".onnx", ".safetensors", ".engine"})
_UNTAKEN = re.compile(r"[#%?:\\]")  # signs that MLflow takes in no path
# As `tasks.compute.inference.elsewhere` names them, which only a bundle host may import.
_ABOUT, _OWN, _BUNDLE = "model.json", "weights.safetensors", "bundle"


class _Stated(BaseModel):
    """What a bundle's metadata say that it needs: versions by the name of a package."""

    model_config = ConfigDict(extra="ignore")

    required_packages_version: dict[str, object] | list[str] = {}  # some list names alone
    optional_packages_version: dict[str, object] | list[str] = {}


def package(parts: Parts, experiment: Experiment, version: ModelVersion) -> Files:
    """Return the files of a version by their paths; of one whose weights are no longer stored, what it was made of."""
    about = _about(experiment, version)
    try:
        weights = parts.blobs.path(version.weights or "")
        folder = bundle_folder(parts, version.bundle_id)
    except NotFoundError:
        return {_ABOUT: about}
    bundle = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    bundle = {name: path for name, path in bundle.items() if not _UNTAKEN.search(name)}
    name, sources = _sources()
    return {
        "MLmodel": _described(name),
        "python_env.yaml": _environment(),
        "requirements.txt": "".join(f"{line}\n" for line in _requirements(folder)).encode(),
        **{f"code/{path}": content for path, content in sources.items()},
        f"data/{_ABOUT}": about,
        f"data/{_OWN}": weights,
        **{f"data/{_BUNDLE}/{path}": file for path, file in bundle.items() if not _is_weights(file, folder)},
    }


def _about(experiment: Experiment, version: ModelVersion) -> bytes:
    named = {
        "version": version.id,
        "number": version.number,
        "labels": experiment.labels,
        "weights_sha256": version.weights,
        "bundle_sha256": version.bundle_id,
        "snapshot_sha256": version.snapshot,
        "results_sha256": version.results,
        "parent": version.parent_id,
        "job": version.job_id,
        "metrics": version.metrics,
    }
    return json.dumps(named, indent=1, sort_keys=True).encode()


def _is_weights(file: Path, folder: Path) -> bool:
    """Say whether a file is weights of the bundle: the version's own take their place."""
    return file.suffix in _WEIGHTS and file.relative_to(folder).parts[0] == "models"


def _described(name: str) -> bytes:
    """Return `MLmodel`; JSON is YAML."""
    flavor = {
        "loader_module": f"{name}.{_LOADER}",
        "code": "code",
        "data": "data",
        "env": {"virtualenv": "python_env.yaml"},
        "python_version": platform.python_version(),
    }
    described: dict[str, Any] = {"flavors": {"python_function": flavor}, "mlflow_version": metadata.version("mlflow")}
    return json.dumps(described, indent=1).encode()


def _environment() -> bytes:
    needed = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    return json.dumps(needed, indent=1).encode()


def _requirements(bundle: Path) -> list[str]:
    """Return pins of what predicts here: our own needs, and those of the bundle's that are installed."""
    stated = _Stated.model_validate_json((bundle / "configs" / "metadata.json").read_bytes())
    asked = [*_NEEDED, *stated.required_packages_version, *stated.optional_packages_version]
    return [f"{name}=={version}" for name, version in _installed(asked).items()]


def _installed(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name).partition("+")[0]  # the build for a processor has no page on PyPI
        except metadata.PackageNotFoundError:
            continue
    return found


def _sources() -> tuple[str, dict[str, bytes]]:
    """Return the name under which our modules go along, and their files: the loader's and what it imports of us."""
    files = {path.relative_to(_ROOT).as_posix(): path.read_text() for path in _imported(_LOADER)}
    digest = hashlib.sha256("".join(f"{path}\0{files[path]}\0" for path in sorted(files)).encode()).hexdigest()
    name = f"teachback_{digest[:8]}"
    moved = {path: _OUR_IMPORT.sub(rf"\1\2 {name}.\3", text).encode() for path, text in files.items()}
    about = '"""The modules of Teachback that predict."""\n'
    return name, {f"{name}/__init__.py": about.encode()} | {f"{name}/{path}": moved[path] for path in moved}


def _imported(module: str) -> set[Path]:
    """Return the files of one of our modules, of the packages around it, and of what they import of us."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _ROOT.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name.partition(".")[0] not in _OURS or not file.is_file() or file in found:
            continue
        found.add(file)
        waiting.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return found
