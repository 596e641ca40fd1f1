"""How long a label's save takes beside a bare write, and a DICOM series' way here beside a bare GET."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
import pydicom
import requests
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from sqlalchemy import insert

from configs.durable import sync_file, sync_folder
from configs.settings import Settings
from configs.specs.dataset import DatasetSpec
from infra.adapters.cache.disk import DiskCache
from infra.adapters.catalog.tables import Dataset, Image
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.multipart import boundary_of
from infra.wiring import Parts, open_parts
from tasks.delivery.dispatch import LABELS, deliver_due
from tasks.images.geometry import Geometry
from tasks.images.prepare import LocalImage, local_image
from tasks.images.slices import read_headers
from tasks.images.sync import sync_dataset
from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.read import read_label
from tasks.labels.forms.write import write_seg
from tasks.labels.incoming.save import LabelParams, save_label
from tests.bench.frame import Bench, Row, at_most, reported
from tests.builders import build
from tests.dicom_series import make_series
from tests.fixtures_orthanc import running_orthanc

MASK_SHAPE = (256, 256, 160)
"""10.5 MB of uint8."""
SERIES_SHAPE = (512, 512, 100)
SIZES = (100, 10_000)
SAVES = 5
AFFINE = np.diag([0.8, 0.8, 2.0, 1.0])
NAMES = {1: "liver"}


def rows(bench: Bench) -> Iterator[Row]:
    """Measure saves, then series."""
    yield from _saves(bench)
    yield from _series(bench)


def _saves(bench: Bench) -> Iterator[Row]:
    medians: dict[tuple[str, int], list[float]] = {}
    for to in ("home", "store"):
        for size in SIZES:
            parts, dataset = _installation(bench.folder / f"{to}-{size}", size, to)
            taken, ratios, settled = [], [], []
            for repeat in range(bench.repeats):
                bare, ours, later = _compared(bench.folder, parts, dataset, repeat)
                taken.append(ours * 1000)
                ratios.append(ours / bare)
                settled.append(later * 1000)
            parts.close()
            medians[to, size] = taken
            where = "kept in the home folder" if to == "home" else "and in the data set's folder too"
            what = f"label save of a 10 MB mask at {size:,} images, {where}"
            yield reported(what, "ms", taken)
            yield at_most(f"{what} ÷ bare durable write", 1.5, "x", ratios)
            if to == "store":
                note = "after the answer: our own copy is durable by then, and puts it right after a power cut"
                yield reported(f"{what}: the folder's copy synced, too", "ms", settled, note)
        few, many = (np.array(medians[to, size]) for size in SIZES)
        yield at_most(f"{where}: {SIZES[1]:,} images ÷ {SIZES[0]}", 1.2, "x", [*(many / few)])


def _installation(home: Path, images: int, labels_to: str) -> tuple[Parts, str]:
    """Return a data set of so many images, the first of which is on disk."""
    parts = open_parts(Settings(home=home / "home"))
    parts.catalog.migrate()
    world = build(parts.catalog, images=0)
    folder = home / "images"
    folder.mkdir(parents=True)
    write_nifti(Volume(np.zeros(MASK_SHAPE, np.int16), AFFINE), folder / "a.nii")
    spec = DatasetSpec(kind="folder", url=str(folder), labels_to=labels_to)
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = spec.model_dump(mode="json")
    sync_dataset(parts, world.dataset)
    more = [
        {
            "dataset_id": world.dataset,
            "key": f"b{number:06}",
            "patient_key": f"p{number}",
            "held_out": False,
            "fingerprint": "1",
            "shuffle": number / images,
        }
        for number in range(images - 1)
    ]
    with parts.catalog.write() as session:
        session.execute(insert(Image), more)
    _save(parts, world.dataset, _mask(home / "first.nii", -1))
    return parts, world.dataset


def _compared(folder: Path, parts: Parts, dataset: str, repeat: int) -> tuple[float, float, float]:
    """Return the medians, in seconds, of a bare durable write, a save, and what that leaves to later, in turns."""
    bare, ours, later = [], [], []
    for number in range(SAVES):
        content = _mask(folder / "mask.nii", repeat * SAVES + number)
        bare.append(_timed(lambda: _bare_write(folder / uuid4().hex, content)))  # noqa: B023 - called before the loop goes on
        ours.append(_timed(lambda: _save(parts, dataset, content)))  # noqa: B023 - as above
        later.append(_timed(lambda: deliver_due(parts, LABELS)))
    return float(np.median(bare)), float(np.median(ours)), float(np.median(later))


def _mask(path: Path, number: int) -> bytes:
    """Return a mask that no other number has; its file is synced, so that nobody who is measured writes that, too."""
    array = np.zeros(MASK_SHAPE, np.uint8, order="F")
    array[50:200, 50:200, 30:120] = 1
    array[0, 0, number] = 1
    write_nifti(Volume(array, AFFINE), path)
    sync_file(path)
    return path.read_bytes()


def _bare_write(path: Path, content: bytes) -> None:
    """Write a new file as carefully as one can: under another name, synced, renamed, and its folder synced."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        shutil.copyfileobj(BytesIO(content), file)  # in pieces: at once takes some virtual machines 25 ms longer
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def _save(parts: Parts, dataset: str, content: bytes) -> None:
    saved = save_label(parts, dataset, "a", BytesIO(content), LabelParams(names=NAMES), "ann")
    if saved.quarantined or saved.pending_upload:
        raise RuntimeError(f"the label was not saved as it should be: {saved.warnings}")


def _series(bench: Bench) -> Iterator[Row]:
    volume = np.random.default_rng(0).integers(-1000, 2000, SERIES_SHAPE).astype(np.int16)
    series = make_series(volume, AFFINE)
    ours, bare, settled, written, read = [], [], [], [], []
    with running_orthanc(bench.folder) as orthanc:
        orthanc.upload(series)
        store = DicomWebStore(orthanc.dicomweb)
        key = series[0].SeriesInstanceUID
        place = f"{orthanc.dicomweb}/studies/{series[0].StudyInstanceUID}/series/{key}"
        _bare_get(place)
        for repeat in range(bench.repeats):
            bare.append(_timed(lambda: _bare_get(place)))
            cache = DiskCache(bench.folder / f"cache-{repeat}", 2**40)
            ours.append(_timed(lambda: _ready(store, cache, key)))  # noqa: B023 - called before the loop goes on
            settled.append(ours[-1] + _timed(cache.settle))  # nor may it go on beside the next bare one
        local = _ready(store, cache, key)
    for repeat in range(bench.repeats):
        seconds = _seg(local, bench.folder / f"seg-{repeat}.dcm")
        written.append(seconds[0])
        read.append(seconds[1])
    yield reported("100 slices of 512 x 512 from Orthanc → ready volume", "s", ours)
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    note = "ready: in the cache, with its headers; it is synced behind, and fetched again where a power cut was faster"
    yield at_most("100 slices of 512 x 512 from Orthanc → ready volume ÷ raw GET + decode", 1.5, "x", ratios, note)
    yield reported("100 slices of 512 x 512 from Orthanc → ready volume, and on the disk", "s", settled)
    yield reported("SEG of 512 x 512 x 100, two segments: write", "s", written)
    yield reported("SEG of 512 x 512 x 100, two segments: read", "s", read)


def _ready(store: DicomWebStore, cache: DiskCache, key: str) -> LocalImage:
    return local_image(store, cache, key, store.image(key).fingerprint)


def _bare_get(place: str) -> NDArray[np.int16]:
    """Fetch a series in one request and decode it in memory, with nothing checked and nothing kept."""
    answer = requests.get(place, headers={"Accept": 'multipart/related; type="application/dicom"'}, timeout=60)
    boundary = boundary_of(answer.headers["Content-Type"])
    if boundary is None:
        raise RuntimeError("the server answered something else than parts")
    parts = [part.partition(b"\r\n\r\n")[2] for part in answer.content.split(b"--" + boundary)[1:-1]]
    instances: list[FileDataset] = [pydicom.dcmread(BytesIO(part[:-2])) for part in parts]
    instances.sort(key=lambda instance: float(instance.ImagePositionPatient[2]))
    return np.stack([instance.pixel_array for instance in instances])


def _seg(local: LocalImage, path: Path) -> tuple[float, float]:
    """Write and read a SEG of the series; return the seconds of both."""
    grid: Geometry = local.geometry()
    array = np.zeros(grid.shape, np.uint8)
    array[100:300, 100:300, 20:80], array[320:400, 320:400, 40:60] = 1, 2
    if local.headers is None:
        raise RuntimeError("the series' headers were not kept")
    headers = read_headers(local.headers)
    names = {1: "liver", 2: "spleen"}
    volume = Volume(array, grid.affine)
    write = _timed(lambda: write_seg(volume, names, headers, path, label_id="x", author="E", origin="MANUAL"))
    read = _timed(lambda: read_label(path, grid))
    return write, read


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
