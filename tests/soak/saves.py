"""kill -9 of the API while annotators save: again and again, at any moment, or at a named one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

import httpx

from tests.processes import wait_until
from tests.soak.ledger import Found, Ledger, check
from tests.soak.place import Api, Place, Shape, image_key, write_mask

SMALL: Shape = (16, 16, 16)
LARGE: Shape = (512, 512, 600)
"""One byte per voxel: 150 MiB."""


@dataclass(frozen=True)
class Kills:
    """What came of it."""

    kills: int
    acknowledged: int
    repeated: int
    found: Found
    seconds: float


class Annotators:
    """Threads that save labels one after the other, and send again what got no answer.

    Args:
        place: Whose images.
        people: How many threads.
        shape: Of the masks.
        images: How many images there are.
        contents: How many different masks; None = every save has its own.
    """

    def __init__(self, place: Place, *, people: int, shape: Shape, images: int, contents: int | None = None) -> None:
        self.ledger = Ledger()
        self.in_flight = 0
        self.refused: list[str] = []
        self.api: Api | None = None
        self._place = place
        self._shape = shape
        self._images = images
        self._contents = contents
        self._numbers = count()
        self._masks: dict[int, tuple[Path, str]] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(each,)) for each in range(people)]

    def start(self) -> None:
        """Let them begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each end with an answer to its last save."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.refused, self.refused

    def _work(self, person: int) -> None:
        chance, path = Random(person), self._place.temporary / f"mask-{person}.nii"
        while not self._stop.is_set():
            number = next(self._numbers)
            if self._contents is None:
                self._save(image_key(chance.randrange(self._images)), path, write_mask(path, self._shape, number))
            else:
                self._save(image_key(number % self._images), *self._mask(number % self._contents))

    def _mask(self, seed: int) -> tuple[Path, str]:
        """Return one of the few large masks, written when it is first needed."""
        if seed not in self._masks:
            path = self._place.temporary / f"large-{seed}.nii"
            self._masks[seed] = path, write_mask(path, self._shape, seed)
        return self._masks[seed]

    def _save(self, image: str, path: Path, sha256: str) -> None:
        for tried in count():
            api = self.api
            assert api is not None
            self.in_flight += 1
            try:
                with self._place.client(api.address) as http, path.open("rb") as file:
                    reply = http.put(
                        f"/label/{self._place.dataset}/datastore/label",
                        params={"image": image},
                        files={"label": ("label.nii", file)},
                    )
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            finally:
                self.in_flight -= 1
            if reply.status_code != httpx.codes.OK:
                self.refused.append(f"{reply.status_code}: {reply.text[:200]}")
                return
            self.ledger.note(reply.json()["label"], image, sha256, again=tried > 0)
            return


def kills_at_random(folder: Path, *, kills: int, images: int, shape: Shape = SMALL, people: int = 4) -> Kills:
    """Kill the API at moments that only chance knows, while *people* save as fast as they can."""
    chance = Random(kills)
    contents = None if shape == SMALL else 3
    longest_s = 0.4 if shape == SMALL else 4.0

    def wait(annotators: Annotators, _api: Api) -> None:
        wait_until(lambda: annotators.in_flight > 0, "a save to begin", within_s=300, step_s=0.01)
        time.sleep(chance.uniform(0, longest_s))

    return _killed(folder, kills, images, shape, people, wait, lambda _: {}, contents)


def kills_at_points(folder: Path, *, points: tuple[str, ...], kills: int, images: int) -> Kills:
    """Let the API kill itself at each of these named points in turn."""

    def wait(_annotators: Annotators, api: Api) -> None:
        wait_until(lambda: not api.alive(), "the API to reach its end", within_s=60, step_s=0.02)

    return _killed(
        folder, kills, images, SMALL, 2, wait, lambda number: {"FAILPOINT": points[number % len(points)]}, None
    )


def _killed(
    folder: Path,
    kills: int,
    images: int,
    shape: Shape,
    people: int,
    wait: Callable[[Annotators, Api], None],
    settings: Callable[[int], dict[str, str]],
    contents: int | None,
) -> Kills:
    began = time.monotonic()
    with _place(folder) as place:
        place.fill(images, shape)
        annotators = Annotators(place, people=people, shape=shape, images=images, contents=contents)
        annotators.api = place.start_api(**settings(0))
        annotators.api.wait()
        annotators.start()
        try:
            for number in range(kills):
                following = place.start_api(**(settings(number + 1) if number + 1 < kills else {}))
                following.wait()
                dying = annotators.api
                wait(annotators, dying)
                dying.kill()
                annotators.api = following
        finally:
            if not annotators.api.alive():
                annotators.api = place.start_api()
                annotators.api.wait()
            annotators.stop()
            annotators.api.kill()
        parts = place.parts()
        found = check(parts, place.dataset, annotators.ledger)
        parts.close()
    ledger = annotators.ledger
    return Kills(kills, len(ledger.acknowledged), ledger.repeated, found, time.monotonic() - began)


@contextmanager
def _place(folder: Path) -> Iterator[Place]:
    place = Place(folder)
    try:
        yield place
    finally:
        place.close()
