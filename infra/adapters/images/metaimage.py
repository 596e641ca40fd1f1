"""MetaImage: an `.mha` holds its voxels, an `.mhd` names the file beside it that does. What is read here is one file.

The format lets a header name any file, or many, as its voxels: it may name one in its own folder, and only while a
folder's image is copied. Its own readers see such names where others see none, so no header that we did not
understand as they would goes on, and none is shown to them.
"""

from pathlib import Path

from configs.errors import DamagedImageError, InvalidRequestError
from infra.adapters.images.files import copy_hashed

SPLIT = ".mhd"
WHOLE = ".mha"
# Headers have tens of lines; the voxels may follow in the same file.
_MOST_HEADER_BYTES = 2**16
_VOXELS = "ElementDataFile"
_LOCAL = "LOCAL"
_STRANGE = frozenset('/\\%"\0')


def whole_header(path: Path) -> tuple[bytes, dict[str, str]]:
    """Return the header of a file that holds its voxels, and its fields by their names.

    Raises:
        InvalidRequestError: If it is no MetaImage, or its voxels are elsewhere.
    """
    header, fields = _header(path)
    if fields[_VOXELS] != _LOCAL:
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
    name = fields[_VOXELS]
    if name == _LOCAL:
        return copy_hashed(source, target)
    voxels = source.parent / name
    plain = name not in {"", ".", "..", "LIST"} and not _STRANGE.intersection(name)
    beside = plain and voxels.is_file() and voxels.resolve().parent == source.resolve().parent
    if not beside or fields.get("HeaderSize", "0") != "0":
        raise DamagedImageError("The .mhd file's voxels are in no file beside it: store both, or one .mha file")
    kept = header[: header.rstrip(b"\r\n").rfind(b"\n") + 1]  # all lines but the last, which is the one to change
    return copy_hashed(voxels, target, head=kept + f"{_VOXELS} = {_LOCAL}\n".encode())


def _header(path: Path) -> tuple[bytes, dict[str, str]]:
    """Return all up to the voxels, and its fields: one a line, each once, `name = value`.

    The format's readers take `:` for `=`, too: a name with it in is another name to them.
    """
    with path.open("rb") as file:
        head = file.read(_MOST_HEADER_BYTES)
    fields: dict[str, str] = {}
    seen: set[str] = set()
    length = 0
    for line in head.split(b"\n"):
        length += len(line) + 1
        name, equals, value = (part.strip() for part in line.decode("utf-8", "surrogateescape").partition("="))
        if not equals or not name.isprintable() or ":" in name or "\r" in value or name.lower() in seen:
            break
        seen.add(name.lower())
        fields[name] = value
        if name == _VOXELS:  # what it names follows
            return head[:length], fields
    raise InvalidRequestError("The file's header is no MetaImage's, or is damaged: store it again")
