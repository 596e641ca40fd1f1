"""Questions about images."""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from infra.adapters.catalog.tables import Image

_OF_KEY = select(Image).where(Image.dataset_id == bindparam("dataset"), Image.key == bindparam("key"))


def get(session: Session, image_id: int) -> Image:
    """Return one image by its catalog id.

    Raises:
        NotFoundError: If there is none.
    """
    image = session.get(Image, image_id)
    if image is None:
        raise NotFoundError("image", str(image_id))
    return image


def by_key(session: Session, dataset_id: str, key: str) -> Image:
    """Return one image by the id that callers use.

    Raises:
        NotFoundError: If the data set has no such image.
    """
    image = find(session, dataset_id, key)
    if image is None:
        raise NotFoundError("image", key)
    return image


def find(session: Session, dataset_id: str, key: str) -> Image | None:
    """Return one image by the id that callers use; None if the data set has no such image."""
    return session.scalar(_OF_KEY, {"dataset": dataset_id, "key": key})
