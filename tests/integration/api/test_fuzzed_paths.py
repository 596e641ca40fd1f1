"""Ids and paths that nobody was given, on every route: none is a fault of ours, none leads out of its data set."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from httpx import Response

from infra.services.callers import Role
from tests.integration.api.conftest import Api, write_label

SECRET = b"what nobody may read"
NAMES = ("../outside/secret", "p1/../../outside/secret", "/etc/passwd", "%2e%2e%2foutside%2fsecret", "p1/a\0.nii")
STRANGE = (*NAMES, "..", ".", " ", "\ud7ff\U0001f9e0", "a" * 5000, "' OR 1=1 --", "${jndi:x}", "-1", "1e999", "null")
IDS = ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "\0", "a" * 3000, "' OR '1'='1", "\U0001f9e0", "-1", "1" * 400)
BODIES: tuple[object, ...] = ({}, [], None, {"action": "nextimage"}, {"name": "\0" * 3, "image": "../x", "specs": []})
PLACE = re.compile(r"\{\w+\}")


@pytest.fixture
def outside(folder: Path) -> Iterator[dict[str, bytes]]:
    """Files beside the data set and what they hold; afterwards they are as they were, and there are no more."""
    place = folder.parent / "outside"
    place.mkdir()
    shutil.copy(folder / "p1" / "a.nii.gz", place / "secret.nii.gz")
    for name in ("secret", "secret.json", "secret.nii"):
        (place / name).write_bytes(SECRET)
    (folder / "link.nii.gz").symlink_to(place / "secret.nii.gz")
    (folder / "away").symlink_to(place)
    before = _files(place)
    yield before
    assert _files(place) == before
    ours = {"outside", folder.name, "home", "label.nii.gz", "catalog.db"}
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in folder.parent.iterdir()} <= ours


def _files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def _is_fine(reply: Response, told: str) -> None:
    assert reply.status_code != 500, told
    assert SECRET not in reply.content, told
    assert b"root:x:" not in reply.content, told


@pytest.mark.usefixtures("outside", "experiment")
def test_strange_ids_on_every_route(app: FastAPI, people_of: dict[Role, Api], dataset: str) -> None:
    assert dataset
    admin = people_of[Role.ADMIN]
    for path, methods in app.openapi()["paths"].items():
        mine = path.replace("{org}", admin.org).replace("{org_id}", admin.org)
        for index, identity in enumerate(IDS if PLACE.search(mine) else ("",)):
            called = PLACE.sub(quote(identity, safe="%/") if index % 2 else quote(identity, safe=""), mine)
            for method in methods:
                body = BODIES[index % len(BODIES)]
                reply = admin.at(method.upper(), called, json=body, follow_redirects=False)
                _is_fine(reply, f"{method} {path} with {identity[:40]!r}")


@pytest.mark.usefixtures("outside")
def test_strange_names_of_images_and_labels(engineer: Api, dataset: str, folder: Path) -> None:
    label = write_label(folder.parent / "label.nii.gz").read_bytes()
    at = f"/label/{dataset}/datastore"
    for name in (*STRANGE, "link", "away/secret", str(folder.parent / "outside" / "secret")):
        asked = {"image": name, "label": name, "id": name}
        for method, path in (("GET", "/image"), ("GET", "/label"), ("DELETE", "/label")):
            reply = engineer.at(method, at + path, params=asked)
            _is_fine(reply, f"{method} {path} {name[:40]!r}")
            assert method == "DELETE" or reply.status_code >= 400, name
        sent = engineer.at("PUT", f"{at}/label", params={"image": name}, files={"label": ("../../x", label)})
        _is_fine(sent, f"PUT /label {name[:40]!r}")
        assert sent.status_code in {400, 404, 422}, name
        info = engineer.at("PUT", f"{at}/image/info", params={"image": name}, data={"info": json.dumps({"skip": "x"})})
        _is_fine(info, f"PUT /image/info {name[:40]!r}")
        for action, specs in (
            ("cacheimage", {"image": name}),
            ("notify", {"added": [{"image": name, "label": name}]}),
            ("notify", {"removed": {"image": name, "label": name}}),
        ):
            body = {"action": action, "specs": specs}
            _is_fine(engineer.call("POST", f"/datasets/{dataset}/jobs", json=body), f"{action} {name[:40]!r}")


@pytest.mark.usefixtures("outside")
def test_strange_tags_and_parameters_of_a_saved_label(engineer: Api, dataset: str, folder: Path) -> None:
    label = write_label(folder.parent / "label.nii.gz").read_bytes()
    at = f"/label/{dataset}/datastore/label"
    for name in STRANGE:
        params = json.dumps({"label_info": [{"name": name, "idx": 1}], "model_version": name, "client_id": name})
        sent = engineer.at(
            "PUT",
            at,
            params={"image": "p1/a", "tag": name},
            files={"label": (name or "x", label)},
            data={"params": params},
        )
        _is_fine(sent, f"tag {name[:40]!r}")
        sent = engineer.at(
            "PUT", at, params={"image": "p1/a"}, files={"label": ("x", label)}, data={"params": params[:-1]}
        )
        _is_fine(sent, f"params {name[:40]!r}")
    written = {path.relative_to(folder).parts[:2] for path in folder.rglob("*") if path.is_file()}
    assert all(parts[0] in {"p1", "p2", "p3", "p4", "teachback", "link.nii.gz"} for parts in written)
