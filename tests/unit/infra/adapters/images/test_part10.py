"""DICOM files that say what cannot be."""

import struct
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from infra.adapters.images.part10 import read_dicom

_GROUP_LENGTH = struct.pack("<HH", 0x0002, 0x0000)


def test_a_number_whose_bytes_are_no_whole_number_of_numbers_is_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + _GROUP_LENGTH + b"UL" + struct.pack("<H", 5) + b"\0" * 5)

    with pytest.raises(InvalidRequestError, match="no DICOM that can be read"):
        read_dicom(path)
