"""What is in a data set, as the MONAI Label dialect tells it: images, what is said of them, and their labels by tag."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.states import LabelState
from infra.adapters.catalog import contents as catalog
from infra.adapters.catalog import datasets, images
from infra.adapters.catalog.contents import Content, Listed
from infra.adapters.catalog.tables import Image, Label
from infra.adapters.catalog.tables.base import now
from infra.services.callers import Caller, Right, allow
from infra.services.data.label_history import FINAL
from infra.wiring import Parts

_Each = TypeVar("_Each", Content, Listed)


@dataclass(frozen=True)
class Counts:
    """How many images a data set has, how many are labelled, and how many have a label under each tag."""

    total: int
    labelled: int
    tags: Mapping[str, int]


def counts(parts: Parts, caller: Caller, dataset_id: str) -> Counts:
    """Return how far a data set's labelling is.

    Raises:
        NotFoundError: If the organisation has no such data set.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        total = datasets.get(session, caller.org, dataset_id).images
        return Counts(total, catalog.labelled(session, dataset_id), catalog.tags(session, dataset_id))


def pages(parts: Parts, caller: Caller, dataset_id: str) -> Iterator[Sequence[Listed]]:
    """Yield a data set's images page by page, each page as it is when it is reached.

    Raises:
        NotFoundError: If the organisation has no such data set; before the first page.
    """
    _may_read(parts, caller, dataset_id)
    return _pages(parts, lambda session, after: catalog.page(session, dataset_id, after), lambda last: last.key)


def labelled(parts: Parts, caller: Caller, dataset_id: str) -> Iterator[tuple[Content, Label]]:
    """Yield the images whose final label holds, and that label.

    Raises:
        NotFoundError: If the organisation has no such data set; before the first image.
    """
    _may_read(parts, caller, dataset_id)
    found = _pages(
        parts,
        lambda session, after: catalog.labelled_page(session, dataset_id, FINAL, after),
        lambda last: last.image.key,
    )
    return ((content, label) for page in found for content in page if (label := to_learn(content)))


def one(parts: Parts, caller: Caller, dataset_id: str, image: str) -> Content | None:
    """Return an image with what is said of it; None if the data set has none of this id.

    Raises:
        NotFoundError: If the organisation has no such data set.
    """
    _may_read(parts, caller, dataset_id)
    with parts.catalog.read() as session:
        found = images.find(session, dataset_id, image)
        return catalog.contents(session, [found])[0] if found is not None else None


def to_learn(content: Content) -> Label | None:
    """Return an image's final label if it holds: none that was sent back, does not fit, or that only a model made."""
    label = content.labels.get(FINAL)
    return label if label is not None and label.state == LabelState.ACTIVE else None


def say(parts: Parts, caller: Caller, dataset_id: str, image: str, more: Mapping[str, Any]) -> None:
    """Keep what a client says of an image.

    Raises:
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If too much is said of it.
    """
    allow(caller, Right.ANNOTATE)

    def said(session: Session) -> None:
        """Add it to what was said before."""
        datasets.get(session, caller.org, dataset_id)
        catalog.say(session, images.by_key(session, dataset_id, image).id, more)

    parts.catalog.unit(said)


def served(parts: Parts, caller: Caller, image: Image, strategy: str, client_id: str) -> Mapping[str, Any]:
    """Note who is handed an image by which strategy, and when; return what was said of it before."""
    with parts.catalog.write() as session:
        before = catalog.contents(session, [image])[0].said
        at = {"ts": int(session.scalar(select(now())) or 0), "client_id": client_id or caller.subject}
        told = before.get("strategy")
        earlier = told if isinstance(told, Mapping) else {}  # a client may have said anything under this name
        with suppress(InvalidRequestError):  # so much is said of it already; it is given all the same
            catalog.say(session, image.id, {"strategy": {**earlier, strategy: at}})
        return before


def _may_read(parts: Parts, caller: Caller, dataset_id: str) -> None:
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)


def _pages(
    parts: Parts, page: Callable[[Session, str], Sequence[_Each]], key_of: Callable[[_Each], str]
) -> Iterator[Sequence[_Each]]:
    after = ""
    while True:
        with parts.catalog.read() as session:
            found = page(session, after)
        if not found:
            return
        yield found
        after = key_of(found[-1])
