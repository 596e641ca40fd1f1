"""A model version as a bundle that MONAI itself runs: the registered one, with what a bundle host changes in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from configs.errors import HostDiedError, NotFoundError
from configs.wire.export import Exported, ExportRequest
from configs.wire.host import Failed
from infra.adapters.catalog.tables import Bundle, ModelVersion
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.results.archive import Packed


class CannotExportError(NotFoundError):
    """There is no bundle that MONAI would run with these weights."""

    def __init__(self, why: str) -> None:
        super().__init__("MONAI bundle", why)
        self._why = why

    def __str__(self) -> str:
        return f"Cannot export monai bundle. {self._why}"


def monai_bundle(parts: Parts, bundle: Bundle, version: ModelVersion, labels: Mapping[int, str]) -> list[Packed]:
    """Return the bundle's files, below a folder named as MONAI Cloud names it; those that were made are open already.

    Raises:
        CannotExportError: If its configuration cannot build the network that was trained.
        NotFoundError: If bundle or weights are not on this host.
        HostDiedError: If its host died.
    """
    folder = bundle_folder(parts, bundle.id)
    weights = parts.blobs.path(version.weights or "")
    made = _made(parts, folder, version, weights, labels)
    kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_weights(path, folder)]
    files: dict[str, Path | BinaryIO] = {path.relative_to(folder).as_posix(): path for path in kept} | made
    return [Packed(f"{bundle.name}_v{bundle.version}/{name}", _opener(files[name])) for name in sorted(files)]


def _opener(file: Path | BinaryIO) -> Callable[[], BinaryIO]:
    return lambda: file.open("rb") if isinstance(file, Path) else file


def _made(
    parts: Parts, folder: Path, version: ModelVersion, weights: Path, labels: Mapping[int, str]
) -> dict[str, BinaryIO]:
    """Have the files made, and return them open: their folder is gone, and nothing is left should nobody read them."""
    scratch = parts.settings.home / "work"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="export-") as work:
        out = Path(work) / "out"
        request = ExportRequest(
            bundle=str(folder),
            labels=dict(labels),
            weights=str(weights),
            version=f"v{version.number}",
            out=str(out),
        )
        with parts.hosts.start(request, work=Path(work), bundle=folder) as host:
            for message in host.messages():
                if isinstance(message, Failed):
                    raise CannotExportError(message.message)
                if isinstance(message, Exported):
                    return {name: (out / name).open("rb") for name in message.files}
    raise HostDiedError("The bundle host ended without a result; its log.txt says more")


def _is_weights(file: Path, folder: Path) -> bool:
    """Say whether a file is the network's own weights, whose place the version's take."""
    within = file.relative_to(folder)
    return within.parts[0] == "models" and within.stem == "model"
