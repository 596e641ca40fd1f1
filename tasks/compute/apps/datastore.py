"""The images as an app sees them: asked of the host's parent, over the socket between them, a share at a time."""

from collections.abc import Mapping
from threading import Lock
from typing import Any, Literal

from configs.wire.apps import AskFile, ListImages, SayOfImage, StoreAnswer
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, BundleFaultError

Which = Literal["unlabeled", "labeled", "all"]


class Datastore:
    """The images of the experiment's data set, in MONAI Label's words. An image's id is what clients call it.

    Lists, and what is said of the images in them, are those of when they were first asked for.

    Args:
        control: The host's end of the socket.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._asking = Lock()
        self._lists: dict[Which, list[str]] = {}
        self._said: dict[str, dict[str, Any]] = {}

    def get_unlabeled_images(self) -> list[str]:
        """Return the ids of the images that wait to be labelled, but for those that were chosen."""
        return list(self._list("unlabeled"))

    def get_labeled_images(self) -> list[str]:
        """Return the ids of the images that have a label."""
        return list(self._list("labeled"))

    def list_images(self) -> list[str]:
        """Return the ids of all images."""
        return list(self._list("all"))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return what is said of an image of one of the lists; empty of any other."""
        return dict(self._said.get(image_id, {}))

    def update_image_info(self, image_id: str, info: Mapping[str, Any]) -> None:
        """Add to what is said of an image: JSON, kept with it.

        Raises:
            BadInputError: If there is no such image, or it is too much.
        """
        self._ask(SayOfImage(image=image_id, said=dict(info)))
        self._said[image_id] = {**self._said.get(image_id, {}), **info}

    def get_image_uri(self, image_id: str) -> str | list[str]:
        """Return an image's file, or one for each channel; it stays until sixty-four others were asked for.

        Raises:
            BadInputError: If there is no such image, or it cannot be read.
        """
        files = self._ask(AskFile(image=image_id, of="image")).files
        return files[0] if len(files) == 1 else files

    def get_label_uri(self, image_id: str) -> str | None:
        """Return the newest label map of an image as a file, in the experiment's values; None where there is none.

        Raises: as `get_image_uri`.
        """
        return next(iter(self._ask(AskFile(image=image_id, of="label")).files), None)

    def leave_out(self, image_id: str) -> bool:
        """Take an image that was chosen off the unlabelled ones; False if it is none of them."""
        waiting = self._list("unlabeled")
        if image_id not in waiting:
            return False
        waiting.remove(image_id)
        return True

    def _list(self, which: Which) -> list[str]:
        if which not in self._lists:
            found = dict[str, dict[str, Any]]()
            while share := self._ask(ListImages(which=which, after=next(reversed(found), ""))).images:
                found.update(share)
            self._lists[which] = list(found)
            self._said = {**found, **self._said}
        return self._lists[which]

    def _ask(self, question: ListImages | AskFile | SayOfImage) -> StoreAnswer:
        with self._asking:
            self._control.say(question)
            answer = self._control.hear()
        if not isinstance(answer, StoreAnswer):
            raise BundleFaultError("The app was asked to end")
        if answer.refused:
            raise BadInputError(answer.refused)
        return answer
