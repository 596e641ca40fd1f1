"""What every format of a volume is held to before its voxels are read."""

from configs.errors import InvalidRequestError

UNREADABLE = (
    "The file is no volume that can be read: give NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha) "
    "with three axes"
)
DEFLATED_AT_MOST = 1032
"""How many bytes one byte of a deflated stream can become (zlib's technical details)."""


def refuse_too_large(size: int, most_bytes: int) -> None:
    """Refuse voxels that would take more memory than one volume may.

    Raises:
        InvalidRequestError: If they do.
    """
    if size > most_bytes:
        msg = f"The header announces {size} bytes of voxels, {most_bytes} are allowed: cut it, or raise volume_mib"
        raise InvalidRequestError(msg)
