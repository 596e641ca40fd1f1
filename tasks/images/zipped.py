"""A zip of a DICOM series → a folder of its instances."""

import shutil
import zipfile
from pathlib import Path

from configs.errors import InvalidRequestError
from infra.adapters.images.folder_series import image_header
from tasks.archives import open_zip, readable_archive

MOST_FILES = 20_000
_PREAMBLE = 128
_MARK = b"DICM"


def unzip_series(archive: Path, folder: Path, most_bytes: int) -> None:
    """Write a series' instances, wherever in the zip they lie, under numbers: no member's name becomes a path here.

    Sizes are added up before anything is unpacked, and no member gives more than it announced.

    Args:
        archive: The zip; what of it is no image's instance, such as DICOMDIR, SR or SEG, is passed over.
        folder: Where the instances go.
        most_bytes: What they may take together.

    Raises:
        InvalidRequestError: If it cannot be read, holds no series or several, or would become too large.
    """
    series: set[str] = set()
    with readable_archive("The image's zip"), open_zip(archive, MOST_FILES) as zipped:
        members = [member for member in zipped.infolist() if not member.is_dir()]
        _refuse_too_large(members, most_bytes)
        for number, member in enumerate(members):
            target = folder / f"{number:06d}.dcm"
            if not _write_dicom(zipped, member, target):
                continue
            header = image_header(target)
            if header is None:
                target.unlink()
            else:
                series.add(str(header.SeriesInstanceUID))
    if len(series) != 1:
        msg = (
            f"The image's zip holds {len(series) or 'no'} DICOM series of images: a zip is read as one, pack each alone"
        )
        raise InvalidRequestError(msg)


def _write_dicom(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> bool:
    """Write a member if it begins as DICOM does; say whether it did."""
    with zipped.open(member) as content:
        head = content.read(_PREAMBLE + len(_MARK))
        if not head.endswith(_MARK):
            return False
        with target.open("xb") as file:
            file.write(head)
            shutil.copyfileobj(content, file)
    return True


def _refuse_too_large(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    """Refuse by what the zip says of itself."""
    size = sum(member.file_size for member in members)
    if size > most_bytes:
        msg = f"The image's zip would become {size} bytes, {most_bytes} are allowed: cut it, or raise volume_mib"
        raise InvalidRequestError(msg)
