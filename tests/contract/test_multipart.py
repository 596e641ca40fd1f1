"""The answer of `inference`, byte for byte, and by what clients of the hosted service read it with."""

import re
from email.parser import BytesParser
from pathlib import Path

import nrrd
import numpy as np
import pytest
from requests_toolbelt.multipart.decoder import MultipartDecoder

from infra.doors.api.monai_cloud.multipart import MultipartResponse
from infra.services.learning.inference import Predicted
from tasks.images.volume import Volume
from tasks.labels.forms.write import to_nrrd

AFFINE = np.array([[1.5, 0, 0, -10], [0, -1.25, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def volume() -> Volume:
    """A label map that is not alike in any direction."""
    return Volume(np.random.default_rng(3).integers(0, 4, (5, 6, 7)).astype(np.uint8), AFFINE)


@pytest.fixture(scope="module")
def response(volume: Volume) -> MultipartResponse:
    answer = Predicted(name="ct_seg.nrrd", content=to_nrrd(volume), version="v", seq=1, cached=False, seconds=0.1)
    return MultipartResponse(answer, 201)


def test_the_bytes_are_those_of_the_hosted_service(response: MultipartResponse, volume: Volume) -> None:
    found = re.fullmatch(r"multipart/form-data; boundary=([0-9a-f]{32})", response.headers["content-type"])
    assert found is not None
    boundary = found[1].encode()
    head = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="ct_seg.nrrd"\r\n\r\n'
    assert bytes(response.body) == head + to_nrrd(volume) + b"\r\n--" + boundary + b"--\r\n"
    assert response.headers["content-length"] == str(len(response.body))


def test_requests_toolbelt_and_pynrrd_read_it(response: MultipartResponse, volume: Volume, tmp_path: Path) -> None:
    (part,) = MultipartDecoder(bytes(response.body), response.headers["content-type"]).parts
    assert dict(part.headers) == {b"Content-Disposition": b'form-data; name="ct_seg.nrrd"'}
    # As the guides take it apart.
    assert part.headers[b"Content-Disposition"].decode().split(";")[1].split("=")[1].strip('"') == "ct_seg.nrrd"
    (tmp_path / "seg.nrrd").write_bytes(part.content)
    voxels, header = nrrd.read(str(tmp_path / "seg.nrrd"))
    np.testing.assert_array_equal(voxels, volume.array)
    assert voxels.dtype == np.uint8
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(header["space directions"], AFFINE[:3, :3].T)
    np.testing.assert_allclose(header["space origin"], AFFINE[:3, 3])


def test_python_s_own_mail_parser_reads_it_too(response: MultipartResponse, volume: Volume) -> None:
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    _, part = BytesParser().parsebytes(head + bytes(response.body)).walk()
    assert part.get_param("name", header="content-disposition") == "ct_seg.nrrd"
    assert part.get_payload(decode=True) == to_nrrd(volume)
