"""What a parent checks of a host's answers before it uses a file that they name."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from configs.wire.admit import AdmitRequest, Admitted
from configs.wire.export import Exported, ExportRequest
from configs.wire.host import Checkpoint, HostMessage, HostRequest, Prediction, ServeRequest, TrainRequest
from configs.wire.host import TrainResult as Trained

# As the host's own limit for a file, so that what it could write can be taken.
MAX_FILE_BYTES = 64 * 2**30
# The format's reference reader refuses longer headers; it is read into memory before anything is known of it.
_MAX_HEADER_BYTES = 100 * 2**20
_FLOATS: dict[str, type[np.floating]] = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
# Eight exponent bits behind the sign, as in float32.
_BF16_EXPONENT = 0x7F80


class UntrustworthyError(ValueError):
    """A host named a file that it must not name, or wrote one that is not what it says."""


class GoneError(UntrustworthyError):
    """A host named a file that is not there."""


class Tensor(BaseModel):
    """One entry of a safetensors header: element type, shape, and where its bytes are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def verify(message: HostMessage, request: HostRequest) -> bool:
    """Check the file that a message names, if it names one.

    Returns:
        False for a checkpoint that is gone already: the host keeps the newest few, and a newer one follows.

    Raises:
        UntrustworthyError: If the file is not a plain file within the request's `out`, or its content does not fit.
    """
    match message, request:
        case Checkpoint(path=path), TrainRequest(out=out):
            try:
                plain_file(Path(out), path)
            except GoneError:
                return False
        case Prediction(path=path), ServeRequest(out=out):
            plain_file(Path(out), path)
        case Exported(files=names), ExportRequest(out=out):
            for name in names:
                plain_file(Path(out), str(Path(out).absolute() / name))
        case Trained(weights=path), TrainRequest(out=out, weights=start):
            verify_weights(plain_file(Path(out), path), like=Path(start) if start else None)
        case Admitted(weights=path), AdmitRequest(out=out):
            verify_weights(plain_file(Path(out), path), like=None)
        case (Admitted() | Checkpoint() | Exported() | Prediction() | Trained(), _):
            raise UntrustworthyError(f"a {message.kind} does not answer a {request.kind}")
        case _:
            pass
    return True


def plain_file(folder: Path, claimed: str) -> Path:
    """Return the claimed path if it is a plain file within *folder*, reached without following a link.

    Raises:
        UntrustworthyError: If it is not, or is larger than 64 GiB.
    """
    path = Path(claimed)
    try:
        parts = path.relative_to(folder.absolute()).parts
    except ValueError:
        raise UntrustworthyError("it named a file outside its output folder") from None
    if not parts or ".." in parts:
        raise UntrustworthyError("it named a file outside its output folder")
    # Folder by folder, since O_NOFOLLOW looks at the last name only; not blocking, since a pipe may have no writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            inner = os.open(part, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
        found = os.fstat(handle)
    except FileNotFoundError:
        raise GoneError("it named a file that is not there") from None
    except OSError:
        raise UntrustworthyError("it named a file behind a link") from None
    finally:
        os.close(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
        raise UntrustworthyError("it named something that is no plain file of at most 64 GiB")
    return path


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, their extents checked against the file.

    Raises:
        UntrustworthyError: If the file is not safetensors.

    Source:
        The safetensors format: 8 bytes little-endian header length, JSON header, data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
            raise UntrustworthyError("its weights are not safetensors")
        try:
            entries: dict[str, object] = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            tensors = {name: Tensor.model_validate(entry) for name, entry in entries.items()}
        except (ValueError, AttributeError, ValidationError):
            raise UntrustworthyError("the header of its weights is not a safetensors header") from None
    for tensor in tensors.values():
        start, end = tensor.data_offsets
        expected = int(np.prod(tensor.shape, dtype=np.int64)) * _SIZES.get(tensor.dtype, 0)
        if not 0 <= start <= end <= size - 8 - length or end - start != expected or min((0, *tensor.shape)) < 0:
            raise UntrustworthyError("a tensor's extent does not fit its shape, type or file")
    return tensors


def verify_weights(path: Path, *, like: Path | None) -> None:
    """Check that weights are finite and, where known, have the tensors of the weights they started from.

    Sizes may differ, ranks may not: a rebuilt head has another number of classes, on whichever axis its layer has them.

    Raises:
        UntrustworthyError: If a name, a shape or a value is wrong.
    """
    tensors = read_header(path)
    if not tensors:
        raise UntrustworthyError("its weights hold no tensor")
    if like is not None:
        expected = read_header(like)
        if set(tensors) != set(expected):
            raise UntrustworthyError("its weights have other tensors than those it started from")
        if any(len(tensors[name].shape) != len(expected[name].shape) for name in expected):
            raise UntrustworthyError("a tensor of its weights has another rank than before")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    for tensor in tensors.values():
        first, last = tensor.data_offsets
        if not _finite(data[start + first : start + last], tensor.dtype):
            raise UntrustworthyError("its weights hold NaN or infinity")


def _finite(raw: npt.NDArray[np.uint8], dtype: str) -> bool:
    """Say whether all numbers are finite; integers are."""
    if dtype == "BF16":
        # NumPy has no bfloat16: NaN and infinity are the numbers all of whose exponent bits are set.
        bits = np.frombuffer(raw.tobytes(), np.uint16)
        return not bool(((bits & _BF16_EXPONENT) == _BF16_EXPONENT).any())
    if dtype not in _FLOATS:
        return True
    return bool(np.isfinite(np.frombuffer(raw.tobytes(), _FLOATS[dtype])).all())
