"""A zip of a DICOM series → a folder of its instances."""

import shutil
import zipfile
from pathlib import Path

from configs.errors import InvalidRequestError
from tasks.archives import readable_archive

MOST_FILES = 20_000
_PREAMBLE = 128
_MARK = b"DICM"


def unzip_series(archive: Path, folder: Path, most_bytes: int) -> None:
    """Write a zip's DICOM files, wherever in it they lie, under numbers: no member's name becomes a path here.

    Sizes are added up before anything is unpacked, and no member gives more than it announced.

    Args:
        archive: The zip; what of it is no DICOM is passed over.
        folder: Where the instances go.
        most_bytes: What they may take together.

    Raises:
        InvalidRequestError: If it cannot be read, holds no DICOM, or would become too large.
    """
    with readable_archive("The image's zip"), zipfile.ZipFile(archive) as zipped:
        members = [member for member in zipped.infolist() if not member.is_dir()]
        _refuse(members, most_bytes)
        for number, member in enumerate(members):
            with zipped.open(member) as content:
                head = content.read(_PREAMBLE + len(_MARK))
                if head.endswith(_MARK):
                    with (folder / f"{number:06d}.dcm").open("xb") as file:
                        file.write(head)
                        shutil.copyfileobj(content, file)
    if next(folder.iterdir(), None) is None:
        raise InvalidRequestError("The image's zip holds no DICOM file: a zip is read as one DICOM series")


def _refuse(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    """Refuse by what the zip says of itself."""
    if len(members) > MOST_FILES:
        raise InvalidRequestError(f"The image's zip has {len(members)} files, and {MOST_FILES} are read at most")
    size = sum(member.file_size for member in members)
    if size > most_bytes:
        msg = f"The image's zip would become {size} bytes, {most_bytes} are allowed: cut it, or raise volume_mib"
        raise InvalidRequestError(msg)
