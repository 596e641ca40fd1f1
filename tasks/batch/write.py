"""One prediction as a file: NIfTI, of a DICOM series a SEG, of what is no label map JSON; and in the images' store."""

import logging
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from configs.durable import written
from configs.errors import ConflictError, InvalidRequestError, ReadOnlyStoreError, TeachbackError
from infra.adapters.catalog.tables import Image
from infra.adapters.images.base import ImageStore, LabelToStore
from tasks.images.prepare import LocalImage
from tasks.images.slices import read_headers
from tasks.images.volume import Volume, read_volume
from tasks.labels.forms.write import write_seg
from tasks.serving.answers import encoded

SEG = ".dcm"
log = logging.getLogger(__name__)


class CannotWriteError(TeachbackError):
    """The predictions cannot go where they were asked for; another try would not help."""


class Model(NamedTuple):
    """Which version predicts, and the names of its labels by their values."""

    version: str
    names: dict[int, str]


def write_prediction(folder: Path, image: Image, local: LocalImage, answer: Path, model: Model) -> Path:
    """Write what a bundle host answered about an image below *folder*, whole; return the file.

    Raises:
        BundleError: If it is no answer that we know.
    """
    content, kind = encoded(answer, local.path, "nifti")
    stem = folder / file_of(image)
    stem.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ending = ".nii.gz" if kind == "mask" else ".json"
    if kind == "mask" and local.headers is not None:
        seg = answer.with_name(f"{answer.name}{SEG}")
        # Its voxels were found to be the image's; where those lie, a bundle has no say.
        volume, series = Volume(read_volume(answer).array, local.geometry().affine), read_headers(local.headers)
        known = id_of(image, model)
        try:
            write_seg(
                volume, model.names, series, seg, label_id=known, author="", origin="AUTOMATIC", model=model.version
            )
            content, ending = seg.read_bytes(), SEG
        except InvalidRequestError as error:
            log.warning("image %s: no SEG can say its prediction, so it is NIfTI: %s", image.id, error)
        finally:
            seg.unlink(missing_ok=True)
    target = stem.with_name(f"{stem.name}{ending}")
    with written(target, mode=0o600) as file:
        file.write(content)
    return target


def into_store(store: ImageStore, image: Image, local: LocalImage, file: Path, model: Model) -> None:
    """Add a label map to the image's store, marked as made by a program: it is no label to learn from.

    Raises:
        CannotWriteError: If the store may not be written.
        StoreError: If it cannot be written now.
    """
    if file.suffix == ".json" or (local.headers is not None and file.suffix != SEG):
        log.warning("image %s: its prediction is in the folder alone: its store keeps none of this kind", image.id)
        return
    try:
        store.put_label(image.key, LabelToStore(id=id_of(image, model), path=file))
    except InvalidRequestError as error:
        log.warning("image %s: its prediction is in the folder alone: %s", image.id, error)
    except ConflictError:
        return  # the same version has predicted this image before; floating point need not agree to the last bit
    except ReadOnlyStoreError as error:
        raise CannotWriteError("The images' store cannot be written: leave write_predictions out.") from error


def id_of(image: Image, model: Model) -> str:
    """Return a prediction's own id: the same version's of the same image has the same."""
    return str(uuid5(NAMESPACE_URL, f"prediction/{model.version}/{image.id}"))


def file_of(image: Image) -> str:
    """Return the path, without ending, under which an image's prediction lies; its key where that only goes down."""
    path = PurePosixPath(image.key)
    plain = path.parts and not path.is_absolute() and ".." not in path.parts and "\0" not in image.key
    return str(path) if plain else f"image-{image.id}"
