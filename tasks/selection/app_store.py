"""Answers what an app's code asks of its `Datastore`, about one data set and nothing else."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue
from sqlalchemy import ColumnElement, exists, select

from configs.errors import InvalidRequestError, NotFoundError, TeachbackError
from configs.states import LabelState
from configs.wire.apps import AskFile, ListImages, SayOfImage, StoreAnswer
from infra.adapters.catalog import contents
from infra.adapters.catalog.tables import Experiment, Image, ImageInfo, Label
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.rounds.steps.gather import row_of
from tasks.rounds.steps.work import Words, cases_of
from tasks.selection.unspoken import is_free_for

PAGE = 500
PAGE_BYTES = 256 * 2**10
"""Ids of the images of one answer and what is said of them, at most: a message has 1 MiB."""
MOST_BYTES = 64 * 2**10
"""What an app may say of one image at a time."""
SHOWN = 64
"""Images and labels that are files at a time."""


class AppStore:
    """One app's images, as long as its host runs.

    Args:
        parts: The adapters.
        experiment: For whom an image is unlabelled.
        dataset_id: Whose images.
        shown: A folder that the host may read; it is made.
    """

    def __init__(self, parts: Parts, experiment: Experiment, dataset_id: str, shown: Path) -> None:
        self._parts, self._experiment, self._dataset = parts, experiment, dataset_id
        self.shown, self._files = shown, dict[str, list[str]]()
        shown.mkdir()

    def answer(self, question: ListImages | AskFile | SayOfImage) -> StoreAnswer:
        """Return the answer to a question, or why there is none."""
        try:
            match question:
                case ListImages():
                    return self._page(question)
                case AskFile(of="image"):
                    return StoreAnswer(files=self._image(self._find(question.image)))
                case AskFile():
                    return StoreAnswer(files=self._label(self._find(question.image)))
                case SayOfImage():
                    self._say(self._find(question.image), question.said)
                    return StoreAnswer()
        except TeachbackError as error:
            return StoreAnswer(refused=str(error)[:1000])
        except OSError as error:  # its text would name a path
            return StoreAnswer(refused=f"The file cannot be shown now ({type(error).__name__})")

    def _page(self, asked: ListImages) -> StoreAnswer:
        """Return the next images by id; none behind the last."""
        with self._parts.catalog.read() as session:
            chosen = {
                "unlabeled": is_free_for(session, self._dataset, self._experiment),
                "labeled": _labelled(),
                "all": Image.dataset_id == self._dataset,
            }[asked.which]
            page = (
                select(Image.key, ImageInfo.said)
                .outerjoin(ImageInfo, ImageInfo.image_id == Image.id)
                .where(Image.dataset_id == self._dataset, Image.key > asked.after, chosen)
                .order_by(Image.key)
                .limit(PAGE)
            )
            found, size = dict[str, dict[str, JsonValue]](), 0
            for key, said in session.execute(page).tuples():
                size += len(json.dumps({key: said}))
                if found and size > PAGE_BYTES:
                    break
                found[key] = said or {}
        return StoreAnswer(images=found)

    def _find(self, key: str) -> Image:
        with self._parts.catalog.read() as session:
            found = session.scalar(select(Image).where(Image.dataset_id == self._dataset, Image.key == key))
        if found is None:
            raise NotFoundError("image", key)
        return found

    def _say(self, image: Image, said: dict[str, JsonValue]) -> None:
        if len(json.dumps(said)) > MOST_BYTES:
            raise InvalidRequestError(
                f"More than {MOST_BYTES} bytes are said of an image: keep what is large in a file"
            )
        self._parts.catalog.unit(lambda session: contents.say(session, image.id, said))

    def _image(self, image: Image) -> list[str]:
        name = str(image.id)
        if name in self._files:
            return self._again(name)
        with self._parts.cache.pin() as pin:
            local = image_of(self._parts, store_of(self._parts, self._dataset), image, pin)
            return self._show(name, local.files)

    def _label(self, image: Image) -> list[str]:
        newest = select(Label).where(Label.image_id == image.id, Label.state == LabelState.ACTIVE, Label.kind == "mask")
        with self._parts.catalog.read() as session:
            label = session.scalar(newest.where(Label.blob.is_not(None)).order_by(Label.seq.desc()).limit(1))
        if label is None:
            return []
        name = f"{image.id}-{label.id}"
        if name in self._files:
            return self._again(name)
        labels = {int(index): name for index, name in self._experiment.labels.items()}
        # A label lies there unpacked, and only what is shown is kept.
        with self._parts.cache.pin() as pin, TemporaryDirectory(dir=self.shown.parent, prefix="label-") as folder:
            words = Words(labels=labels, folder=Path(folder))
            cases = cases_of(self._parts, words, [row_of(self._parts, label, image)], pin)
            return self._show(name, [Path(case.label) for case in cases if case.label])

    def _again(self, name: str) -> list[str]:
        """Return what is shown already, which is now the last to go."""
        self._files[name] = self._files.pop(name)
        return self._files[name]

    def _show(self, name: str, files: Sequence[Path]) -> list[str]:
        """Put files where the host sees them, by names that say nothing of a patient."""
        folder = self.shown / name
        shutil.rmtree(folder, ignore_errors=True)  # there is one if the disk was full the last time
        folder.mkdir()
        shown = [folder / f"{number}{''.join(file.suffixes[-2:])}" for number, file in enumerate(files)]
        for file, target in zip(files, shown, strict=True):
            _link(file, target)
        self._files[name] = [str(file) for file in shown]
        if len(self._files) > SHOWN:
            oldest = next(iter(self._files))
            del self._files[oldest]
            shutil.rmtree(self.shown / oldest)
        return self._files[name]


def _labelled() -> ColumnElement[bool]:
    return exists().where(Label.image_id == Image.id, Label.state == LabelState.ACTIVE)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the cache is on another file system
        shutil.copyfile(source, target)
