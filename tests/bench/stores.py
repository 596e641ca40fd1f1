"""Object stores: an image's way from each, beside fsspec's own; many at once; and a data set of 100 000 images."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import nibabel
import numpy as np
from pydantic import SecretStr

from configs.settings import Settings
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.base import ImageStore
from infra.services import people
from infra.services.callers import Caller, Role
from infra.services.data import datasets
from infra.services.data.datasets import NewDataset
from infra.wiring import Parts
from tasks.images.prepare import local_image
from tests.bench.frame import Bench, Row, at_most, reported
from tests.fixtures_objects import BUCKET, KINDS, STARTED, Bucket, running_fake_gcs

SIDE = 216  # voxels a side; in 16 bits the file has 20 MB
MANY, AT_ONCE = 64, 16
REGISTERED = 10_000  # 100 000, of which the stand-in for Google's store takes minutes to list, are in `registration`
_AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])


def rows(bench: Bench) -> Iterator[Row]:
    """Measure; each store is a real server of this machine."""
    with ExitStack() as running:
        for kind in KINDS:
            folder = bench.folder / kind
            folder.mkdir()
            bucket = Bucket(kind, running.enter_context(STARTED[kind](folder)), uuid4().hex[:12])
            yield from _one_image(bench, bucket)
            if kind == "s3":
                yield _many(bench, bucket)
    yield from _registered(bench)


def _one_image(bench: Bench, bucket: Bucket) -> Iterator[Row]:
    """An image of 20 MB, from asking to its file in the cache; and fsspec's own download of the same."""
    voxels = np.random.default_rng(0).integers(0, 2**15, (SIDE, SIDE, SIDE), dtype=np.int16)
    path = bench.folder / "image.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, _AFFINE), path)
    bucket.put("image.nii", path.read_bytes())
    store = bucket.store(bucket.manifest({"image": {"path": ["image.nii"], "id": "one"}}), bench.folder / "cache")
    [image] = store.images()
    files = bucket.bare()
    ratios = []
    for _ in range(bench.repeats + 1):
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            start = time.perf_counter()
            files.get_file(f"{bucket.name}/{bucket.folder}/image.nii", f"{folder}/bare.nii")
            between = time.perf_counter()
            _volume(store, Path(folder), image.key, image.fingerprint)
            ratios.append((time.perf_counter() - between) / (between - start))
    megabytes = path.stat().st_size / 1e6
    yield reported(f"{bucket.kind}: image of {megabytes:.0f} MB to a volume ÷ bare fsspec get", "x", ratios[1:])


def _volume(store: ImageStore, folder: Path, key: str, fingerprint: str) -> None:
    local_image(store, DiskCache(folder / "cache", 10**10), key, fingerprint)


def _many(bench: Bench, bucket: Bucket) -> Row:
    """Images of 2 MB, all at once and one after the other."""
    voxels = np.random.default_rng(0).integers(0, 2**15, (100, 100, 100), dtype=np.int16)
    content = nibabel.Nifti1Image(voxels, _AFFINE).to_bytes()
    for number in range(MANY):
        bucket.put(f"many/{number}.nii", content)
    entries = [{"image": {"path": [f"many/{number}.nii"], "id": str(number)}} for number in range(MANY)]
    store = bucket.store(bucket.manifest(*entries, name="many.json"), bench.folder / "cache")
    images = [(image.key, image.fingerprint) for image in store.images()]
    ratios = []
    for _ in range(bench.repeats):
        with (
            tempfile.TemporaryDirectory(dir=bench.folder) as one,
            tempfile.TemporaryDirectory(dir=bench.folder) as all_,
        ):
            ratios.append(_fetched(store, Path(one), images, AT_ONCE) / _fetched(store, Path(all_), images, 1))
    return reported(f"{MANY} images of 2 MB fetched {AT_ONCE} at once ÷ in turn", "x", ratios, "S3, on this machine")


def _fetched(store: ImageStore, folder: Path, images: Sequence[tuple[str, str]], at_once: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda image: _volume(store, folder, *image), images))
    return time.perf_counter() - start


def entries(count: int) -> list[dict[str, Any]]:
    """Return the entries of a manifest of so many images, a thousand in a folder."""
    paths = (f"p{number // 1000:03d}/image-{number:07d}.nii.gz" for number in range(count))
    return [{"image": {"path": [path], "id": f"{number:08d}"}} for number, path in enumerate(paths)]


def _registered(bench: Bench) -> Iterator[Row]:
    """A data set from its address to its last row, every object looked for; once, since it takes a minute."""
    named = entries(REGISTERED)
    objects = bench.folder / "objects" / BUCKET / "set"
    for entry in named:
        (path,) = (objects / each for each in entry["image"]["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (objects / "manifest.json").write_text(json.dumps({"data": named}))
    (bench.folder / "many").mkdir()
    with running_fake_gcs(bench.folder / "many", bench.folder / "objects") as endpoint:
        settings = Settings(home=bench.folder / "home", gcs_endpoint=endpoint)
        first, again = registered(settings, Bucket("gcs", endpoint, "set"))
    what = f"data set of {REGISTERED:,} images registered, every object looked for"
    yield at_most(what, 18, "s", [first], "the store's own server on the same cores")
    yield reported("the same listed again", "s", [again])


def registered(settings: Settings, bucket: Bucket) -> tuple[float, float]:
    """Return the seconds from a data set's address to its last row, and those of another listing."""
    parts = Parts(settings)
    parts.catalog.migrate()
    caller = people.operator("bench")
    people.create_key(parts, caller, name="bench", role=Role.ENGINEER)
    given = bucket.credentials
    password = SecretStr(given["client_secret"]) if given else None
    start = time.perf_counter()
    row = datasets.create(parts, caller, NewDataset(url=bucket.url, username=given.get("client_id"), password=password))
    between = _listed(parts, caller, row.id)
    again = _listed(parts, caller, row.id)
    parts.close()
    return between - start, again - between


def _listed(parts: Parts, caller: Caller, dataset_id: str) -> float:
    while not datasets.refresh(parts, caller, dataset_id).complete:
        pass
    return time.perf_counter()
