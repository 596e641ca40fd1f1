"""MetaImage: an `.mha` holds its voxels, an `.mhd` names the file beside it that does. What is read here is one file.

The format lets a header name any file, or many, as its voxels: it may name one in its own folder, and only while a
folder's image is copied.
"""

from pathlib import Path

from configs.errors import DamagedImageError, InvalidRequestError
from infra.adapters.images.files import copy_hashed

SPLIT = ".mhd"
WHOLE = ".mha"
_MOST_HEADER_BYTES = 2**16
_LOCAL = "LOCAL"
_STRANGE = frozenset('/\\%"\0')


def whole_header(path: Path) -> tuple[bytes, dict[str, str]]:
    """Return the header of a file that holds its voxels, and its fields by their names in lower case.

    Raises:
        InvalidRequestError: If it is no MetaImage, or its voxels are elsewhere.
    """
    header, fields = _header(path)
    if fields["elementdatafile"] != _LOCAL:
        raise InvalidRequestError("The MetaImage header names another file for its voxels: send one whole .mha file")
    return header, fields


def copy_whole(source: Path, target: Path) -> str:
    """Copy an image as one `.mha` file; return the sha256 of what was written.

    Raises:
        DamagedImageError: If the header is none, or its voxels are not beside it.
        StoreError: If the files changed meanwhile.
    """
    try:
        header, fields = _header(source)
    except InvalidRequestError as error:
        raise DamagedImageError(str(error)) from None
    name = fields["elementdatafile"]
    if name == _LOCAL:
        return copy_hashed(source, target)
    voxels = source.parent / name
    plain = name not in {"", ".", "..", "LIST"} and not _STRANGE.intersection(name)
    beside = plain and voxels.is_file() and voxels.resolve().parent == source.resolve().parent
    if not beside or fields.get("headersize", "0") != "0":
        raise DamagedImageError("The .mhd file's voxels are in no file beside it: store both, or one .mha file")
    kept = header[: header.rstrip(b"\r\n").rfind(b"\n") + 1]  # all lines but the last, which is the one to change
    return copy_hashed(voxels, target, head=kept + f"ElementDataFile = {_LOCAL}\n".encode())


def _header(path: Path) -> tuple[bytes, dict[str, str]]:
    with path.open("rb") as file:
        head = file.read(_MOST_HEADER_BYTES)
    fields: dict[str, str] = {}
    length = 0
    for line in head.splitlines(keepends=True):
        length += len(line)
        name, equals, value = line.decode("utf-8", "surrogateescape").partition("=")
        if not equals:
            break
        fields[name.strip().lower()] = value.strip()
        if name.strip().lower() == "elementdatafile":  # the voxels follow
            return head[:length], fields
    raise InvalidRequestError("The file's header is no MetaImage's: store it again")
