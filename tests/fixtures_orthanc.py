"""A real DICOMweb server: Debian's Orthanc (`apt-get install orthanc orthanc-dicomweb`), in a folder of its own."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
import requests
from pydicom.dataset import FileDataset

from tests.processes import end, free_port, skip_or_fail, wait_until

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "annotator", "a pass:word"


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    url: str
    auth: tuple[str, str] | None

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/system", auth=self.auth, timeout=5).ok
        except requests.ConnectionError:
            return False

    def upload(self, instances: Sequence[FileDataset]) -> None:
        """Store instances by Orthanc's own interface."""
        for instance in instances:
            with BytesIO() as buffer:
                instance.save_as(buffer, enforce_file_format=True)
                content = buffer.getvalue()
            requests.post(f"{self.url}/instances", data=content, auth=self.auth, timeout=10).raise_for_status()

    def lookup(self, uid: str) -> str:
        """Return the path, in Orthanc's own interface, of what has this UID."""
        answer = requests.post(f"{self.url}/tools/lookup", data=uid, auth=self.auth, timeout=10)
        return str(answer.json()[0]["Path"])

    def remove(self, path: str) -> None:
        """Delete what `lookup` found."""
        requests.delete(f"{self.url}{path}", auth=self.auth, timeout=10).raise_for_status()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that asks nobody who they are."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), auth=None) as server:
        yield server


@pytest.fixture(scope="session")
def locked_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that wants a user and a password."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), auth=(USER, PASSWORD)) as server:
        yield server


@contextmanager
def running_orthanc(
    folder: Path,
    *,
    auth: tuple[str, str] | None = None,
    more: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Orthanc]:
    """Run an empty Orthanc in *folder* until the block ends, with *more* settings and environment."""
    binary = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if binary is None or not PLUGIN.exists():
        skip_or_fail("Orthanc is not installed here: apt-get install orthanc orthanc-dicomweb.")
    port, dicom_port = free_port(), free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": port,
        "DicomPort": dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": auth is not None,
        "RegisteredUsers": dict([auth]) if auth else {},
        "HttpThreadsCount": 8,
        "OverwriteInstances": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
        **(more or {}),
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log.txt").open("w") as log:
        command = [str(binary), str(folder / "orthanc.json")]
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        server = Orthanc(f"http://127.0.0.1:{settings['HttpPort']}", auth)
        wait_until(lambda: process.poll() is not None or server.answers(), "Orthanc to answer")
        assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
        yield server
    finally:
        end(process)
