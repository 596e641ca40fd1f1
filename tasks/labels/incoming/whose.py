"""Which image a label's file speaks about, where nobody says so: by what it refers to, else by its name."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog.tables import Image
from infra.adapters.images.folder_layout import LABEL_ENDINGS, SLICER, THEIRS, readings_of
from infra.adapters.images.part10 import read_dicom, readable

_SHOWN = 3


def image_of_label(session: Session, dataset_id: str, file: Path, name: str) -> str:
    """Return the key of the image.

    Args:
        session: A session for questions.
        dataset_id: The data set.
        file: The label, with the ending that its bytes have.
        name: What its owner calls it: its path below the folder that it comes from.

    Raises:
        NotFoundError: If no image is meant.
        InvalidRequestError: If several may be.
    """
    referenced = _referenced(file) if file.suffix == ".dcm" else set()
    if referenced:
        of_series = or_(Image.key.in_(referenced), Image.meta["SeriesInstanceUID"].as_string().in_(referenced))
        return _one(session, dataset_id, of_series, name)
    for stem in _stems(name):
        found = session.scalar(select(Image.key).where(Image.dataset_id == dataset_id, Image.key == stem))
        if found is not None:
            return found
    last = PurePosixPath(next(_stems(name))).name
    # The name alone, wherever it lies: told by its end.
    ends = or_(Image.key == last, Image.key.endswith(f"/{last}", autoescape=True))
    return _one(session, dataset_id, ends, name, last)


def _one(session: Session, dataset_id: str, meant: ColumnElement[bool], name: str, last: str | None = None) -> str:
    """Return the one image that is meant, and whose last part is exactly this: SQLite's LIKE knows no capitals."""
    query = select(Image.key).where(Image.dataset_id == dataset_id, meant).order_by(Image.key)
    keys = (key for key in session.scalars(query) if last is None or PurePosixPath(key).name == last)
    found = list(islice(keys, _SHOWN))
    if not found:
        raise NotFoundError("image for the label", name)
    if len(found) > 1:
        raise InvalidRequestError(f"{name!r} may speak about several images ({', '.join(found)} …): say --image")
    return found[0]


def _stems(name: str) -> Iterator[str]:
    """Yield the image ids that a name may mean: itself, and without the folders in which labels are kept."""
    ending = next((ending for ending in LABEL_ENDINGS if name.lower().endswith(ending)), "")
    stem = name[: len(name) - len(ending)].removesuffix(SLICER)
    yield stem
    below = PurePosixPath(stem).relative_to(THEIRS) if PurePosixPath(stem).is_relative_to(THEIRS) else stem
    yield from (reading.image for reading in readings_of(THEIRS / f"{below}.nii"))


def _referenced(file: Path) -> set[str]:
    """Return the series that a SEG or RTSTRUCT refers to.

    Raises:
        InvalidRequestError: If it cannot be read.
    """
    with readable("The label's header cannot be read: store it again"):
        label = read_dicom(file, pixels=False)
        series = [*(label.get("ReferencedSeriesSequence", None) or ())]
        for frame in label.get("ReferencedFrameOfReferenceSequence", None) or ():
            for study in frame.get("RTReferencedStudySequence", None) or ():
                series += study.get("RTReferencedSeriesSequence", None) or ()
        return {str(each.SeriesInstanceUID) for each in series}
