"""A slot's label map → the file that a client of the MONAI Label dialect asked for.

A slot answers one form, which is kept and made ahead; what a client wants besides is made of it here, in milliseconds.
"""

import re
import tempfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.write import GZIP, to_nrrd

_VECTOR = re.compile(rb"\(([^)]*)\)")

Ending = Literal[".nrrd", ".nii", ".nii.gz"]
Kind = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"]


class ResultForm(BaseModel):
    """How a label map is written: `kind` of its values; `packed` says it of NRRD, whose ending does not."""

    model_config = ConfigDict(frozen=True)

    ending: Ending = ".nrrd"
    kind: Kind = "uint8"
    packed: bool = False


def written(answer: bytes, form: ResultForm) -> bytes:
    """Return a slot's NRRD (uint8, gzip) in another form; the same values on the same grid, in the same order."""
    if form == ResultForm(packed=True):
        return answer
    if form == ResultForm():
        head, plain = _opened(answer)
        return head.replace(b"encoding: gzip", b"encoding: raw") + b"\n\n" + plain
    volume = volume_of(answer)
    volume = Volume(volume.array.astype(form.kind), volume.affine)
    if form.ending == ".nrrd":
        return to_nrrd(volume, compressed=form.packed, narrow=False)
    with tempfile.TemporaryDirectory(prefix="result-") as folder:
        path = Path(folder) / f"result{form.ending}"
        write_nifti(volume, path)
        return path.read_bytes()


def volume_of(answer: bytes) -> Volume:
    """Return the label map that a slot's NRRD is."""
    head, voxels = _opened(answer)
    fields = dict(line.split(b": ", 1) for line in head.splitlines() if b": " in line)
    shape = tuple(int(size) for size in fields[b"sizes"].split())
    affine = np.eye(4)
    for axis, vector in enumerate(_VECTOR.findall(fields[b"space directions"] + fields[b"space origin"])):
        affine[:3, axis] = [float(number) for number in vector.split(b",")]
    return Volume(np.frombuffer(voxels, np.uint8).reshape(shape, order="F"), affine)


def _opened(answer: bytes) -> tuple[bytes, bytes]:
    """Return the header, and the voxels unpacked."""
    head, _, voxels = answer.partition(b"\n\n")
    return head, zlib.decompress(voxels, GZIP)
