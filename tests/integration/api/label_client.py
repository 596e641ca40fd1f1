"""How clients of the original call: MONAI Label's Python client, which Slicer's module has a copy of.

Written from what they send: a connection for each call, one boundary for every form, whole paths as names of files; and
from what they take: status 200 alone, no redirect, a form taken apart part by part, by the names of files in it.
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

import numpy as np
import SimpleITK

from tasks.images.geometry import RAS_FROM_LPS

NAME = "liver and spleen"
IN_URL = "liver+and+spleen"
SHAPE = (6, 7, 8)
SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8"}
SCRIBBLES = {"Histogram+GraphCut", "GMM+GraphCut"}
BOUNDARY = "----------lImIt_of_THE_fIle_eW_$"


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What it says; only 200 is an answer to these clients."""
        assert self.status == 200, self.body
        return json.loads(self.body)


@dataclass(frozen=True)
class LabelClient:
    """One user of the address *server*, which may have a path."""

    server: str
    token: str = field(default="", repr=False)

    def call(
        self, method: str, path: str, body: bytes = b"", content_type: str = "", headers: Mapping[str, str] = {}
    ) -> Reply:
        """Call a path below the server's, such as `/info/`."""
        place = urlsplit(self.server)
        sent = {"Content-Type": content_type} if content_type else {}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        connection.request(method, f"{place.path}{path}", body=body or None, headers={**sent, **headers})
        answer = connection.getresponse()
        reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return reply

    def get(self, path: str) -> Any:
        """Return what a path says."""
        return self.call("GET", path).json

    def post(self, path: str, said: object) -> Reply:
        """Send JSON."""
        return self.call("POST", path, json.dumps(said).encode(), "application/json")

    def form(self, method: str, path: str, fields: Mapping[str, str], files: Mapping[str, Path]) -> Reply:
        """Send a form, which may be empty."""
        lines: list[bytes] = []
        for name, value in fields.items():
            lines += [f"--{BOUNDARY}".encode(), f'Content-Disposition: form-data; name="{name}"'.encode()]
            lines += [b"", value.encode()]
        for name, file in files.items():
            disposition = f'Content-Disposition: form-data; name="{name}"; filename="{file}"'
            lines += [f"--{BOUNDARY}".encode(), disposition.encode(), b"Content-Type: application/octet-stream", b""]
            lines.append(file.read_bytes())
        lines += [f"--{BOUNDARY}--".encode(), b""]
        body = b"".join(line + b"\r\n" for line in lines)
        return self.call(method, path, body, f"multipart/form-data; boundary={BOUNDARY}")

    def infer(self, model: str, image: str, params: Mapping[str, Any] | None = None, **more: Any) -> "Segmented":
        """Ask for a segmentation, and take it apart."""
        path = f"/infer/{quote_plus(model)}?image={quote_plus(image)}"
        session = more.pop("session_id", "")
        path += f"&session_id={quote_plus(session)}" if session else ""
        fields = {} if params is None else {"params": json.dumps(params)}
        return Segmented.of(self.form("POST", path, fields, more))


@dataclass(frozen=True)
class Segmented:
    """An answer taken apart: what is said, and the file under its name."""

    params: Any
    name: str = ""
    content: bytes = b""

    @classmethod
    def of(cls, reply: Reply) -> "Segmented":
        """Take an answer apart as the Python client does: parts with a file's name are files, the others fields."""
        assert reply.status == 200, reply.body
        kind = reply.headers["content-type"]
        if "multipart" not in kind:
            return cls(json.loads(reply.body))
        assert int(reply.headers["content-length"]) == len(reply.body)
        # They use `cgi`, which Python 3.13 is without.
        found = [*message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + reply.body).walk()][1:]
        files = [part for part in found if part.get_filename()]
        [params], [file] = [part for part in found if not part.get_filename()], files
        names = [part.get_param("name", header="content-disposition") for part in (params, file)]
        assert names == ["params", "image"]
        return cls(json.loads(_bytes(params)), str(file.get_filename()), _bytes(file))


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def read_image(content: bytes, folder: Path, ending: str = ".nrrd") -> Any:
    """Return a file's content as SimpleITK reads it."""
    path = folder / f"result{ending}"
    path.write_bytes(content)
    return SimpleITK.ReadImage(str(path))


def shows(found: Any, answer: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> None:
    """Assert that an image has these voxels, and lies where the images do: *affine* is in RAS."""
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), answer.T)
    np.testing.assert_allclose(found.GetOrigin(), (RAS_FROM_LPS @ affine)[:3, 3])
