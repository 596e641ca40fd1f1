"""Bundles over HTTP: registered from a path or an address by an admin, used by everybody, removed while nobody does."""

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from configs.wire.check import CheckResult
from configs.wire.host import HostMessage, HostRequest
from infra.adapters.compute.base import CageLevel
from infra.services.callers import Role
from infra.wiring import Parts
from tests.hosts_in_memory import HostInMemory, HostsInMemory
from tests.integration.api.conftest import Api
from tests.shapes.shape import plain

OURS = "/api/teachback/v1/bundles"
FOUND = CheckResult(
    tier="B",
    reason="Its trainer is its own",
    labels={1: "organ"},
    inputs=["image"],
    has_weights=False,
    weights_policy="random",
    forward_s=0.1,
    peak_mib=100,
)


class _Host(HostInMemory):
    def messages(self) -> Iterator[HostMessage]:
        yield FOUND


class Examining(HostsInMemory):
    """Hosts that find the same in whatever they are asked to examine."""

    level: CageLevel = "bubblewrap"

    def host(self, request: HostRequest, work: Path) -> HostInMemory:
        del request, work
        return _Host()


@pytest.fixture
def admin(people_of: dict[Role, Api], parts: Parts) -> Api:
    Examining().put_into(parts)
    return people_of[Role.ADMIN]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A server of this machine with a bundle as zip and as tar, and a file that is none."""
    folder = plain().write(tmp_path / "site" / "Tiny_Organ")
    with zipfile.ZipFile(folder.parent / "tiny_organ_v0.1.zip", "w") as archive:
        for path in folder.rglob("*.json"):
            archive.write(path, path.relative_to(folder.parent))
    with tarfile.open(folder.parent / "again.tar.gz", "w:gz") as tar:
        tar.add(folder, ".")
    (folder.parent / "none.zip").write_bytes(io.BytesIO(b"<html>").getvalue())
    handler = partial(_Quiet, directory=str(folder.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_an_admin_registers_by_address_and_by_path_and_one_content_is_one_bundle(
    admin: Api, annotator: Api, site: str, tmp_path: Path
) -> None:
    made = admin.at("POST", OURS, json={"source": f"{site}/tiny_organ_v0.1.zip?signature=secret"})
    assert made.status_code == 201, made.text
    assert (made.json()["bundle"]["tier"], made.json()["bundle"]["reason"]) == ("B", "Its trainer is its own")
    assert made.json()["bundle"]["source"] == f"{site}/tiny_organ_v0.1.zip"

    for source in (f"{site}/again.tar.gz", str(tmp_path / "site" / "Tiny_Organ")):
        again = admin.at("POST", OURS, json={"source": source})
        assert again.json() == made.json()

    assert [one["name"] for one in annotator.at("GET", OURS).json()].count("tiny_organ") == 1
    for name in ("tiny_organ", made.json()["bundle"]["id"][:12]):
        assert annotator.at("GET", f"{OURS}/{name}").json() == made.json()["bundle"]
    missing = annotator.at("GET", f"{OURS}/tiny_orgam")
    assert (missing.status_code, "Did you mean 'tiny_organ'?" in missing.text) == (404, True)
    base = annotator.call("GET", f"/experiments/{made.json()['base_experiment']}").json()
    assert (base["name"], base["network_arch"], base["actions"][0]) == ("tiny_organ", "monai_segmentation", "train")


def test_checking_registers_nothing(admin: Api, annotator: Api, site: str, parts: Parts) -> None:
    found = admin.at("POST", f"{OURS}:check", json={"source": f"{site}/again.tar.gz"}).json()
    assert (found["name"], found["check"]["reason"]) == ("tiny_organ", "Its trainer is its own")
    assert "tiny_organ" not in {one["name"] for one in annotator.at("GET", OURS).json()}
    assert not (parts.settings.home / "bundles").exists()
    assert not list((parts.settings.home / "work").iterdir())


@pytest.mark.parametrize(
    ("source", "status", "reason"),
    [
        ("/nowhere", 400, "absolute path"),
        ("bundles/sample", 400, "absolute path"),
        ("ftp://127.0.0.1/x.zip", 400, "begins with"),
        ("https://bundles.example/x.zip", 403, "TEACHBACK_BUNDLE_SOURCES"),
        ("s3://bucket/x.zip", 403, "TEACHBACK_BUNDLE_SOURCES"),
        ("SITE/missing.zip", 400, "127.0.0.1 answers 404"),
        ("SITE/none.zip", 400, "is no zip, tar or folder"),
    ],
)
def test_what_is_no_bundle_from_an_allowed_place_is_refused(
    admin: Api, site: str, source: str, status: int, reason: str
) -> None:
    reply = admin.at("POST", OURS, json={"source": source.replace("SITE", site)})
    assert (reply.status_code, reason in reply.json()["detail"]) == (status, True), reply.text


def test_a_folder_that_holds_no_bundle_is_not_copied_and_metadata_are_read_as_they_are(
    admin: Api, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "2026" / "deep").mkdir(parents=True)
    none = admin.at("POST", OURS, json={"source": str(tmp_path / "photos")})
    assert (none.status_code, "0 were found" in none.json()["detail"]) == (400, True)

    numbered = plain()
    numbered.metadata = {"version": 0.5}
    made = admin.at("POST", OURS, json={"source": str(numbered.write(tmp_path / "numbered"))})
    assert made.json()["bundle"]["version"] == "0.5"
    odd = plain()
    odd.metadata = {"description": None}
    refused = admin.at("POST", OURS, json={"source": str(odd.write(tmp_path / "odd"))})
    assert (refused.status_code, "are texts" in refused.json()["detail"]) == (400, True)


def test_a_bundle_in_use_is_not_removed_and_one_that_is_not_can_be_added_again(
    admin: Api, stranger: Api, dataset: str, site: str
) -> None:
    made = admin.at("POST", OURS, json={"source": f"{site}/again.tar.gz"}).json()
    body = {"name": "mine", "network_arch": "monai_segmentation", "train_datasets": [dataset]}
    experiment = admin.made("/experiments", base_experiment=[made["base_experiment"]], **body)["id"]

    refused = admin.at("DELETE", f"{OURS}/tiny_organ")
    assert (refused.status_code, "used by experiments: mine" in refused.json()["detail"]) == (409, True)
    admin.call("DELETE", f"/experiments/{experiment}")
    assert admin.at("DELETE", f"{OURS}/tiny_organ").status_code == 200
    assert admin.at("GET", f"{OURS}/tiny_organ").status_code == 404
    assert stranger.call("GET", f"/experiments/{made['base_experiment']}").status_code == 404

    again = admin.at("POST", OURS, json={"source": f"{site}/again.tar.gz"}).json()
    assert again["bundle"]["id"] == made["bundle"]["id"]
    assert admin.at("GET", f"{OURS}/tiny_organ").status_code == 200


def test_an_experiment_names_its_bundle_by_address(
    admin: Api, engineer: Api, stranger: Api, dataset: str, site: str
) -> None:
    url = f"{site}/tiny_organ_v0.1.zip"
    body = {"name": "clf", "network_arch": "monai_custom", "train_datasets": [dataset], "bundle_url": url}
    unknown = engineer.call("POST", "/experiments", json=body)
    assert (unknown.status_code, "teachback bundles add" in unknown.text) == (403, True)

    made = admin.made("/experiments", **body)
    assert made["network_arch"] == "monai_custom"
    assert made["model_params"]["labels"] == {"1": "organ"}
    assert "bundle_url" not in made
    (base,) = made["base_experiment"]
    shown = engineer.call("GET", f"/experiments/{base}").json()
    assert (shown["name"], shown["read_only"], shown["public"]) == ("base_experiment_clf", True, False)
    assert stranger.call("GET", f"/experiments/{base}").status_code == 404
    assert base not in {one["id"] for one in engineer.call("GET", "/experiments").json()}

    known = engineer.made("/experiments", **body)
    assert known["bundle"] == made["bundle"]
    for experiment in (made["id"], base):
        assert engineer.call("DELETE", f"/experiments/{experiment}").status_code == 200
    assert engineer.call("GET", f"/experiments/{base}").status_code == 404


def test_a_custom_experiment_without_a_bundle_says_what_is_missing(engineer: Api, dataset: str) -> None:
    reply = engineer.call("POST", "/experiments", json={"network_arch": "monai_custom", "train_datasets": [dataset]})
    assert reply.status_code == 400
    assert "Either `bundle_url` or `ngc_path` needs to be defined" in reply.json()["error_desc"]
