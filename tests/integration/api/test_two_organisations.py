"""Requests to each architecture from two organisations at once: ids, predictions, errors and caches stay apart.

Every slot is a real one, with a bundle host of its own. Both organisations have the same bundles and the same images,
and give the labels other indices: whose model answered stands in every answer.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from requests_toolbelt.multipart.decoder import MultipartDecoder

from configs.settings import Settings
from configs.wire.slot import VERSION_HEADER
from infra.adapters.catalog.tables import Experiment
from infra.services.callers import Role
from infra.services.learning.archs import OF_ANY_BUNDLE, OFFERED
from infra.wiring import Parts
from tests.bundles import narrow, narrow_classifier, picture
from tests.integration.api.conftest import AFFINE, Api
from tests.integration.realtime.conftest import served
from tests.realtime_home import Realtime
from tests.shapes.answering import finds_boxes
from tests.shapes.configured import no_training
from tests.shapes.own_code import with_clicks
from tests.shapes.shape import plain


def _unsure_detector(folder: Path) -> Path:
    """Write a detector that names what it is hardly sure of: random weights are never sure of anything."""
    shape = finds_boxes()
    shape.inference = json.loads(json.dumps(shape.inference).replace("score_thresh=0.05", "score_thresh=0.0"))
    return shape.write(folder)


SHAPES = {"p1/a": (18, 17, 16), "p1/b": (16, 18, 17), "p2/a": (17, 16, 18)}
CLIENTS = 8
BUNDLES: dict[str, Callable[[Path], Path]] = {
    "monai_vista3d": partial(narrow, spacing_mm=2),
    "monai_annotation": with_clicks().write,
    "monai_segmentation": plain().write,
    "monai_classification": narrow_classifier,
    "monai_detection": _unsure_detector,
    "monai_custom": no_training().write,
}
NAMES: dict[str, tuple[str, ...]] = {
    "monai_vista3d": ("liver", "spleen", "right kidney"),
    "monai_classification": ("in body", "out body"),
    "monai_detection": ("nodule",),
}
NO_CLICKS = re.compile("Clicks belong to one label|takes no clicks")


@dataclass(frozen=True)
class Served:
    """One organisation's experiment of one architecture, and what was heard of it: contents by image."""

    api: Api
    arch: str
    dataset: str
    experiment: str
    version: str
    heard: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(home=tmp_path / "home", catalog_url=sqlite_url, realtime_quota=0)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Noise on a grid that is not plain, of another size each."""
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        path = tmp_path / "volumes" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(random.normal(0, 300, shape).astype(np.float32), AFFINE), path)
    return tmp_path / "volumes"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Frames of the same names."""
    for number, name in enumerate(SHAPES):
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, number % 2).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def pairs(
    people_of: dict[Role, Api], stranger: Api, parts: Parts, volumes: Path, pictures: Path, tmp_path: Path
) -> Iterator[list[tuple[Served, Served]]]:
    """An experiment of each architecture in each of two organisations, all of them served."""
    both, admin = [], people_of[Role.ADMIN]
    with ExitStack() as slots:
        for arch, write in BUNDLES.items():
            bundle = write(tmp_path / ("deepedit" if arch == "monai_annotation" else arch))
            images = pictures if arch == "monai_classification" else volumes
            pair = [_made(parts, api, arch, bundle, images) for api in (admin, stranger)]
            for each in pair:
                slots.enter_context(served(Realtime(parts, each.api.org, each.dataset, {}, each.experiment), parts))
            both.append((pair[0], pair[1]))
        yield both


def _made(parts: Parts, api: Api, arch: str, bundle: Path, images: Path) -> Served:
    dataset = api.made("/datasets", client_url=str(images))["id"]
    body: dict[str, Any] = {"bundle_url": str(bundle)}
    if arch not in OF_ANY_BUNDLE:
        added = api.at("POST", "/api/teachback/v1/bundles", json={"source": str(bundle)})
        assert added.status_code == 201, added.text
        body = {"base_experiment": [added.json()["base_experiment"]]}
    labels = _labels(arch, NAMES.get(arch, ("organ",)), turned=api.org != "clinic")
    body |= {"network_arch": arch, "inference_dataset": dataset, "model_params": {"labels": labels}}
    experiment = api.made("/experiments", name=f"{arch} of {api.org}", **body)["id"]
    with parts.catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        row.realtime = True
        return Served(api, arch, dataset, experiment, str(row.published_version))


def _labels(arch: str, names: tuple[str, ...], *, turned: bool) -> Mapping[str, str]:
    first = (arch != "monai_classification") + turned
    return {str(first + number): name for number, name in enumerate(reversed(names) if turned else names)}


def _ask(number: int, mine: Served, theirs: Served, kind: str, image: str) -> None:
    """Ask one thing and look at every word of the answer."""
    specs: dict[str, Any] = {"image": image}
    experiment, status = mine.experiment, 201
    if kind == "fresh":
        specs["bundle_params"] = {"number": number}  # kept answers are to the same words only
    elif kind == "clicks":
        specs["bundle_params"], status = {"points": [[1, 1, 1]], "point_labels": [1]}, 400
    elif kind == "their data set":
        specs["dataset_id"], status = theirs.dataset, 404
    elif kind == "their experiment":
        experiment, status = theirs.experiment, 404
    elif kind == "no image":
        specs["image"], status = "p9/z", 404
    reply = mine.api.call("POST", f"/experiments/{experiment}/jobs", json={"action": "inference", "specs": specs})
    assert reply.status_code == status, f"{mine.arch}, {kind}: {reply.text}"
    foreign = (theirs.experiment, theirs.dataset, theirs.version)
    assert not any(one in f"{reply.headers} {reply.text}" for one in foreign)
    if kind == "clicks":
        assert NO_CLICKS.search(reply.json()["error_desc"]), reply.text
    if status == 201:
        assert reply.headers[VERSION_HEADER] == mine.version
        (part,) = MultipartDecoder(reply.content, reply.headers["content-type"]).parts
        mine.heard[image].add(part.content)


def _is_of(served: Served, content: bytes, image: str) -> bool:
    """Say whether an answer speaks of this image, as far as its kind tells."""
    if served.arch == "monai_classification":
        return content.startswith(f"{image},".encode())
    if served.arch == "monai_detection":
        return bool(json.loads(content)["boxes"])
    return f"sizes: {' '.join(map(str, SHAPES[image]))}\n".encode() in content


@pytest.mark.usefixtures("warm_host")
def test_requests_to_every_architecture_from_two_organisations_at_once_stay_apart(
    pairs: list[tuple[Served, Served]],
) -> None:
    assert {one.arch for one, _ in pairs} == OFFERED
    kinds = ("plain", "fresh", "fresh", "clicks", "their data set", "their experiment", "no image")
    order = Random(5)
    asked = [*(("plain", image) for image in SHAPES), *((kind, order.choice([*SHAPES])) for kind in kinds)]
    work = [
        (mine, theirs, kind, image)
        for one, other in pairs
        for mine, theirs in ((one, other), (other, one))
        for kind, image in asked
    ]
    order.shuffle(work)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(_ask, number, *each) for number, each in enumerate(work)]:
            done.result()

    for one, other in pairs:
        for image in SHAPES:
            # However often and whenever it was asked: one answer, one's own, and of this image.
            [mine], [theirs] = one.heard[image], other.heard[image]
            assert mine != theirs
            assert _is_of(one, mine, image)
            assert _is_of(other, theirs, image)
        for each in (one, other):
            listed = each.api.call("GET", "/experiments?user_only=true").json()
            assert {row["name"].rpartition(" ")[2] for row in listed} == {each.api.org}
