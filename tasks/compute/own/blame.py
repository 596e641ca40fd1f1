"""Which cases a bundle's own trainer fails on. It is looked for once it has failed: looking reads each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events

from tasks.compute.failures import BundleFaultError
from tasks.compute.loader.config import Config
from tasks.compute.loader.pipeline import no_case_left
from tasks.compute.own.cases import Items


class Blame:
    """What was going on in a training, should it fail; kept from one try to the next.

    Attributes:
        left_out: Ids of cases that the trainer is not given.
    """

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._config: Config | None = None
        self._image_key = ""
        self._items: dict[str, Items] = {}
        self._batch: Any = None
        self._worked, self._worked_before = 0, -1

    def begin(self, config: Config, image_key: str, items: dict[str, Items]) -> None:
        """Note what the next try is made of: the cases' items by side."""
        self._config, self._image_key, self._items, self._batch = config, image_key, items, None

    def attach(self, *engines: Engine) -> None:
        """Note which batch is being worked on."""
        for engine in engines:
            engine.add_event_handler(Events.ITERATION_STARTED, self._begins)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._ends)

    def find(self, error: Exception) -> None:
        """Leave out, from now on, the cases that cannot be prepared, or the one on which the trainer failed.

        Raises:
            BundleFaultError: Naming cases, if it may be any of several, or if their sizes differ in a batch; or if
                none is left.
            Exception: The error itself, if no case is to blame.
        """
        found = self._unprepared() if self._batch is None else self._at_work(error)
        if not found:
            raise error
        self.left_out += found
        learning = self._items["train"]
        if not learning.keys() - {*self.left_out}:
            raise no_case_left(len(learning))

    def _begins(self, engine: Engine) -> None:
        self._batch = engine.state.batch

    def _ends(self, _engine: Engine) -> None:
        self._batch = None
        self._worked += 1

    def _at_work(self, error: Exception) -> list[str]:
        """Return the case of the batch that was worked on."""
        names = _files(self._batch, self._image_key)
        every = {case: item for items in self._items.values() for case, item in items.items()}
        found = [case for case, item in every.items() if _first(item[self._image_key]) in names]
        # A trainer that fails without having worked since is at fault itself.
        if found and (len(found) > 1 or self._worked <= self._worked_before):
            raise BundleFaultError(
                f"The bundle's own trainer fails ({type(error).__name__}) on case(s) {', '.join(found)}: look at these"
                " images, their labels and sizes, skip them, or ask for batch_size 1, with which a case that it fails"
                " on is left out; the host's log says where"
            )
        self._worked_before = self._worked
        return found

    def _unprepared(self) -> list[str]:
        """Return the cases that the bundle's transforms cannot read or prepare."""
        failing, sizes = list[str](), dict[str, str]()
        for side, items in self._items.items():
            name = f"{side}#preprocessing"
            if self._config is None or not self._config.find(name):
                continue
            for case, item in items.items():
                try:
                    size = _size(self._config.build(name)(dict(item)), self._image_key)
                except Exception:  # noqa: BLE001 - whatever the bundle's own transforms raise
                    failing.append(case)
                else:
                    sizes |= {case: size} if side == "train" else {}
        if not failing and len({*sizes.values()}) > 1:
            raise _unequal(sizes)
        return failing


def _unequal(sizes: Mapping[str, str]) -> BundleFaultError:
    told = ", ".join(f"case {case} is {size}" for case, size in [*sizes.items()][:8])
    return BundleFaultError(
        f"The bundle's own trainer failed between two steps, and its images differ in size after its preprocessing"
        f" ({told}): ask for batch_size 1, or have it crop or pad"
    )


def _files(batch: Any, image_key: str) -> list[str]:
    """Return the files from which a batch's images were read: a stack's, or those of a list of items."""
    found: list[str] = []
    for stack in batch if isinstance(batch, Sequence) else [batch]:
        image = stack.get(image_key) if isinstance(stack, Mapping) else None
        names = getattr(image, "meta", {}).get("filename_or_obj", [])
        found += [names] if isinstance(names, str) else [str(name) for name in names]
    return found


def _first(files: str | list[str]) -> str:
    return files if isinstance(files, str) else files[0]


def _size(prepared: Any, image_key: str) -> str:
    """Return an image's size, or that of the patches that were made of it."""
    one = prepared[0] if isinstance(prepared, Sequence) else prepared
    return " x ".join(str(extent) for extent in one[image_key].shape)
