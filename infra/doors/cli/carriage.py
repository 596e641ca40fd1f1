"""`teachback datasets import-labels` and `export`: labels from other programs' files, and for them."""

import json
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import typer
from pydantic import BaseModel

from configs.errors import ForbiddenError, InvalidRequestError, NotFoundError, TeachbackError, UnauthorizedError
from configs.names import plain
from infra.doors.cli.client import OURS, Client, HomeOption, KeyOption, UrlOption
from infra.doors.cli.terminal import terminal

_WITHIN_S = 600.0
_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff", ".json")
_DICOM_LABELS = frozenset({"SEG", "RTSTRUCT"})
_SIDES = {"train": "training", "evaluate": "validation"}
_Raw = dict[str, Any]  # a row as it was answered: all that it says goes into `dataset.json`
_Given = TypeVar("_Given")
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="The data set's name or id.")]


class Format(StrEnum):
    """How labels are written."""

    NIFTI = "nifti"
    SEG = "seg"
    MANIFEST = "manifest"
    COCO = "coco"


class _Row(BaseModel):
    image: str
    side: str
    label: str
    kind: str
    names: dict[str, str]


class _Export(BaseModel):
    labels: dict[str, str]
    rows: list[dict[str, Any]]


class _Saved(BaseModel):
    image: str
    warnings: list[str]
    quarantined: bool


def import_labels(
    dataset: DatasetArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or folders that hold them.")],
    image: Annotated[str, typer.Option("--image", help="The image of a single file; default: told by the file.")] = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Take in labels that were made elsewhere: they train from the first round, and never count.

    NIfTI, NRRD, MetaImage, DICOM SEG and RTSTRUCT, PNG, TIFF, JSON. A SEG or RTSTRUCT says which series it refers to;
    any other file is of the image with its name, such as `p1/ct.nii.gz` or `labels/final/p1/ct.nrrd` of `p1/ct`.

    For example:

        teachback datasets import-labels studies ~/old-project/labels
    """
    files = list(_files(paths))
    if not files:
        raise NotFoundError("label file", str(paths[0]))
    if image and len(files) > 1:
        raise InvalidRequestError(f"--image names one image, and there are {len(files)} files")
    refused = 0
    out = terminal()
    with Client.of(url, key, home) as client:
        for path, name in files:
            try:
                saved = _import(client, dataset, path, name, image)
            except (UnauthorizedError, ForbiddenError):
                raise  # what one file may not, none may
            except TeachbackError as error:
                refused += 1
                out.print(f"{path}: refused: {error}", markup=False)
                continue
            told = " ".join(["in quarantine:" if saved.quarantined else "", *saved.warnings]).strip()
            out.print(f"{path}: {saved.image}{f' ({told})' if told else ''}", markup=False)
    out.print(f"{len(files) - refused} imported, {refused} refused", markup=False)
    if refused:
        raise typer.Exit(1)


def export(
    dataset: DatasetArgument,
    to: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    form: Annotated[Format, typer.Option("--format", help="nifti, seg, manifest (object stores), coco (pictures).")],
    experiment: Annotated[
        str, typer.Option("--experiment", help="Whose sides and labels; default: the newest that learns from it.")
    ] = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
) -> None:
    """Write the label that each image would train with, its side, and where it comes from.

    `dataset.json` lists them under `training` and `validation`, with author, tool, time and model version of each.

    For example:

        teachback datasets export studies ./out --format nifti
    """
    if to.exists() and any(to.iterdir()):
        raise InvalidRequestError(f"{to} is not empty: name a new folder")
    to.mkdir(parents=True, exist_ok=True)
    with Client.of(url, key, home) as client:
        query = {"experiment": experiment} if experiment else {}
        answer = client.request("GET", f"{OURS}/datasets/{quote(dataset, safe='')}:export", params=query)
        found = client.get_as(_Export, answer)
        if form is Format.MANIFEST:
            client.save(f"{OURS}/datasets/{quote(dataset, safe='')}:manifest", to / "manifest.json", within_s=_WITHIN_S)
            written = [(row, "") for row in found.rows]
        elif form is Format.COCO:
            written = [(row, "") for row in _write_coco(client, found, to)]
        else:
            written = list(_taken(found.rows, partial(_write_label, client, form=form, to=to)))
    listed: dict[str, list[dict[str, Any]]] = {name: [] for name in _SIDES.values()}
    for row, file in written:
        said = {name: value for name, value in row.items() if name not in {"image", "label", "side"}}
        entry = {"image": row["image"], **({"label": file} if file else {}), "provenance": {"id": row["label"], **said}}
        listed[_SIDES[str(row["side"])]].append(entry)
    _write(to / "dataset.json", {"name": dataset, "labels": found.labels, **listed})
    left_out = len(found.rows) - len(written)
    more = f", {left_out} left out" if left_out else ""
    terminal(stderr=True).print(f"{len(written)} labels in {to}{more}", markup=False)
    if left_out:
        raise typer.Exit(1)


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each label's file, and its path below the folder that was named."""
    for path in paths:
        if path.is_file():
            yield path, path.name
        elif not path.is_dir():
            raise NotFoundError("file or folder", str(path))
        for inner in sorted(path.rglob("*")) if path.is_dir() else ():
            below = inner.relative_to(path)
            hidden = any(part.startswith(".") for part in below.parts)
            if inner.is_file() and not hidden and (inner.name.lower().endswith(_ENDINGS) or _says_labels(inner)):
                yield inner, below.as_posix()


def _says_labels(file: Path) -> bool:
    """Say whether a file is a SEG or RTSTRUCT, which may lie among images; one that is damaged is told by its name."""
    from infra.adapters.images.folder_series import may_be_dicom  # noqa: PLC0415 - pydicom takes a second
    from infra.adapters.images.part10 import read_dicom  # noqa: PLC0415 - as above

    if not may_be_dicom(file.name):
        return False
    try:
        return read_dicom(file, pixels=False, only=["Modality"]).get("Modality") in _DICOM_LABELS
    except InvalidRequestError:
        return file.suffix.lower() == ".dcm"


def _import(client: Client, dataset: str, path: Path, name: str, image: str) -> _Saved:
    with path.open("rb") as file:
        answer = client.request(
            "POST",
            f"{OURS}/datasets/{quote(dataset, safe='')}/labels:import",
            files={"label": (path.name, file)},
            data={"name": name, "image": image},
            timeout=_WITHIN_S,
        )
    return client.get_as(_Saved, answer)


def _taken(rows: Iterable[_Raw], take: Callable[[_Row], _Given]) -> Iterator[tuple[_Raw, _Given]]:
    """Yield what each label gives; one without this form, or its image, is named with why, and the others go out."""
    for row in rows:
        try:
            yield row, take(_Row.model_validate(row))
        except (InvalidRequestError, NotFoundError) as error:
            terminal().print(f"{row['image']}: left out: {error}", markup=False)


def _write_label(client: Client, row: _Row, form: Format, to: Path) -> str:
    """Write one label under its image's id, which may be anything: what leads elsewhere is spelled out."""
    parts = PurePosixPath(row.image).parts
    plain = parts and not row.image.startswith("/") and ".." not in parts and "\0" not in row.image
    ending = ".json" if row.kind != "mask" else ".nii.gz" if form is Format.NIFTI else ".dcm"
    relative = f"labels/{row.image if plain else quote(row.image, safe='')}{ending}"
    target = to / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    client.save(f"{OURS}/labels/{row.label}/as/{form}", target, within_s=_WITHIN_S)
    return relative


def _write_coco(client: Client, found: _Export, to: Path) -> list[_Raw]:
    """Write a file for each side, with the same categories; return the rows that are in them."""
    categories, written = _Categories(found.labels), list[_Raw]()
    sides: dict[str, tuple[list[_Raw], list[_Raw]]] = {side: ([], []) for side in _SIDES}
    for raw, said in _taken(found.rows, lambda row: client.get(f"{OURS}/labels/{row.label}/as-coco")):
        written.append(raw)
        row = _Row.model_validate(raw)
        images, annotations = sides[row.side]
        size = {name: said[name] for name in ("file_name", "width", "height")}
        images.append({"id": len(images) + 1, **size})
        for one in said["annotations"]:
            known = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append({**known, **one, "category_id": categories.number(row, int(one["category_id"]))})
    for side, (images, annotations) in sides.items():
        _write(to / f"{side}.json", {"images": images, "annotations": annotations, "categories": categories.listed()})
    return written


class _Categories:
    """COCO's categories: one number for each name, whatever its value in a label.

    Args:
        labels: The experiment's names by index, which are kept.
    """

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels
        self._names = {int(value): name for value, name in labels.items() if int(value)}
        self._numbers = {plain(name): value for value, name in self._names.items()}

    def number(self, row: _Row, value: int) -> int:
        """Return the category of one of a label's values."""
        name = row.names.get(str(value)) or self._labels.get(str(value)) or f"value {value}"
        if plain(name) not in self._numbers:
            own = self._labels.get(str(value), name) == name and value not in self._names
            number = value if own else max(self._names) + 1
            self._names[number], self._numbers[plain(name)] = name, number
        return self._numbers[plain(name)]

    def listed(self) -> list[dict[str, Any]]:
        """Return them as COCO lists them."""
        return [{"id": number, "name": name} for number, name in sorted(self._names.items())]


def _write(to: Path, content: dict[str, Any]) -> None:
    to.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
