"""An image behind an address: fetched once as long as it stays the same, bounded, and never from inside."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nibabel as nib
import numpy as np
import pytest

from configs.errors import InvalidRequestError
from configs.settings import Settings
from infra.wiring import Parts
from tasks.images.addressed import is_address, name_in
from tasks.images.volume import read_volume
from tasks.serving.answers import SlotImages
from tests.dicom_series import asymmetric, make_series, oblique_affine, save_series, zipped
from tests.runs_in_memory import RunsInMemory

METADATA = "http://169.254.169.254/latest/ct.nii.gz"


class _Server(ThreadingHTTPServer):
    """Gives one file under every path; `mark` is its ETag, and what leads to `/away` is sent there."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.mark, self.away = content, "", METADATA

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        found = self.path.startswith("/there")
        self.send_response(200 if found else 302 if self.path.startswith("/away") else 404)
        if self.server.mark:
            self.send_header("ETag", self.server.mark)
        self.send_header("Location", self.server.away)
        self.send_header("Content-Length", str(len(self.server.content) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def parts(sqlite_url: str, tmp_path: Path, runs: RunsInMemory) -> Iterator[Parts]:
    """What a slot has; no database is asked about an address."""
    opened = Parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url), orchestrator=runs)
    yield opened
    opened.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    with _Server(_volume(tmp_path, 1)) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _volume(folder: Path, value: int) -> bytes:
    path = folder / f"{value}.nii.gz"
    nib.save(nib.Nifti1Image(np.full((3, 4, 5), value, dtype=np.int16), np.diag([-2.0, -1, 3, 1])), path)
    return path.read_bytes()


def _value(parts: Parts, address: str) -> int:
    images = SlotImages(parts)
    image = images.behind(address)
    return int(read_volume(images.local(image, parts.cache).path).array.max())


def test_a_zip_is_one_dicom_series(parts: Parts, server: _Server, tmp_path: Path) -> None:
    save_series(make_series(asymmetric(), oblique_affine(), patient="x"), tmp_path / "series")
    server.content = zipped(tmp_path / "series")
    assert _value(parts, f"{server.address}/there/series.zip") == asymmetric().max()


@pytest.mark.parametrize("mark", ["", '"1"'])
def test_an_image_is_read_as_it_is_now_whether_its_server_tells_a_state_or_not(
    parts: Parts, server: _Server, tmp_path: Path, mark: str
) -> None:
    address = f"{server.address}/there/ct.nii.gz?token=secret"
    server.mark = mark
    assert _value(parts, address) == 1
    server.content, server.mark = _volume(tmp_path, 2), mark and '"2"'
    assert _value(parts, address) == 2


def test_what_has_not_changed_is_taken_from_the_cache(parts: Parts, server: _Server) -> None:
    server.mark = '"1"'
    address = f"{server.address}/there/ct.nii.gz"
    assert _value(parts, address) == 1
    server.content = b"x" * len(server.content)
    assert _value(parts, address) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gone/ct.nii.gz", "answers 404"),
        ("/there/ct.exe", "has to end in one of .nii.gz"),
        ("/away/ct.nii.gz", "TEACHBACK_EGRESS_ALLOW"),
    ],
)
def test_what_is_no_image_to_be_had_is_refused(parts: Parts, server: _Server, path: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        _value(parts, f"{server.address}{path}")


def test_what_is_too_large_is_refused_before_it_is_all_here(parts: Parts, server: _Server) -> None:
    small = parts.settings.model_copy(update={"volume_mib": 1})
    parts.settings = small
    server.content = bytes(small.volume_bytes + 1)
    with pytest.raises(InvalidRequestError, match="is larger than"):
        _value(parts, f"{server.address}/there/ct.nii.gz")


@pytest.mark.parametrize("address", [METADATA, "http://10.0.0.1/ct.nii.gz", "http://user:word@127.0.0.1/ct.nii.gz"])
def test_addresses_inside_and_those_with_a_password_are_refused(parts: Parts, address: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SlotImages(parts).behind(address)
    assert "word@" not in str(caught.value)


def test_an_address_is_told_from_an_id_and_gives_the_answer_its_name() -> None:
    assert [is_address(image) for image in ("https://x/a.nii", "HTTP://x/a.nii", "p1/a", "1.2.3")] == [
        True,
        True,
        False,
        False,
    ]
    assert name_in("https://host/a%20b/ct.nii.gz?X-Amz-Signature=1") == "ct"
