"""`teachback bundles pull`: MONAI's own downloader against a server that speaks Hugging Face's protocol."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from configs.errors import InvalidRequestError
from infra.doors.cli.bundles import download, with_weights
from tasks.bundles.waiting import waits
from tests.bundles import VISTA3D
from tests.shapes.shape import plain

COMMIT = "1" * 40


class _Hub(BaseHTTPRequestHandler):
    """One repository, `MONAI/tiny`, with one revision, `0.1`."""

    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        content, status = self._content()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        if status != 200:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _content(self) -> tuple[bytes, int]:
        path = self.path.partition("?")[0]
        if path == "/api/models/MONAI/tiny/revision/0.1":
            listed = [{"rfilename": name} for name in self.files]
            return json.dumps({"id": "MONAI/tiny", "sha": COMMIT, "siblings": listed}).encode(), 200
        if path == f"/api/models/MONAI/tiny/tree/{COMMIT}":
            tree = [{"type": "file", "path": name, "size": len(self.files[name]), "oid": ""} for name in self.files]
            return json.dumps(tree).encode(), 200
        wanted = self.path.partition("/resolve/")[2].partition("/")[2]
        return (self.files[wanted], 200) if wanted in self.files else (b"{}", 404)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The bundle that the server has; the downloader is told where it is as people tell it."""
    folder = plain().write(tmp_path / "repository")
    _Hub.files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.json")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield folder
    server.shutdown()
    server.server_close()


def test_monais_downloader_fetches_a_bundle(hub: Path, tmp_path: Path) -> None:
    found = download({"name": "tiny", "version": "0.1", "source": "", "repo": ""}, tmp_path / "pulled")

    assert found == tmp_path / "pulled" / "tiny"
    for name in ("configs/metadata.json", "configs/inference.json", "configs/train.json"):
        assert (found / name).read_bytes() == (hub / name).read_bytes()


def test_a_bundle_that_comes_with_the_project_gets_the_fetched_weights_and_shows_their_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = plain().write(tmp_path / "vista3d")
    (fetched / "models").mkdir()
    (fetched / "models" / "model.pt").write_bytes(b"weights")
    (fetched / "LICENSE.weights").write_text("For research only")

    whole = with_weights(VISTA3D, fetched)

    assert "For research only" in capsys.readouterr().err
    assert (whole / "models" / "model.pt").read_bytes() == b"weights"
    assert (whole / "configs" / "metadata.json").read_bytes() == (VISTA3D / "configs" / "metadata.json").read_bytes()
    assert waits(VISTA3D) is not None
    assert waits(whole) is None


def test_a_download_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"no models/model\.pt"):
        with_weights(VISTA3D, plain().write(tmp_path / "vista3d"))
