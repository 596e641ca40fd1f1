"""Whoever asks for what is being predicted already waits for that, and makes it hurry."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from configs.errors import BundleError
from configs.settings import Settings
from configs.specs.infer import InferSpec
from configs.wire.busy import make
from configs.wire.host import Failed, HostCommand, HostMessage, Hurry, Predict, Prediction, Ready
from configs.wire.slot import SlotPredict
from infra.adapters.catalog.slots import Published
from infra.adapters.catalog.tables import Candidate, Dataset, Image
from infra.doors.realtime.answers import Answer, Answers
from infra.doors.realtime.busy import Busy
from infra.doors.realtime.engine import Engine
from infra.doors.realtime.versions import Served, Versions
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tests.builders import World, build
from tests.processes import wait_until

SHAPE = (4, 5, 6)


class ToldHost:
    """A bundle host that keeps what it is asked, and answers when it is told to."""

    pid = 0

    def __init__(self, out: Path) -> None:
        self.asked: list[HostCommand] = []
        self._out = out
        self._said: SimpleQueue[HostMessage | None] = SimpleQueue()
        self._said.put(Ready())

    @property
    def predictions(self) -> list[Predict]:
        """The predictions it was asked for."""
        return [command for command in self.asked if isinstance(command, Predict)]

    def answer(self, command: Predict) -> None:
        """Predict label 1 everywhere, with an uncertainty of 0.25."""
        path = self._out / command.name
        nib.save(nib.Nifti1Image(np.ones(SHAPE, dtype=np.uint8), np.eye(4)), path)
        self._said.put(Prediction(id=command.id, version=command.version, path=str(path), seconds=0.1, score=0.25))

    def fail(self, command: Predict) -> None:
        """Fail as a bundle's own code does."""
        self._said.put(Failed(id=command.id, code="bundle_error", message="its own code failed"))

    def messages(self) -> Iterator[HostMessage]:
        while (message := self._said.get()) is not None:
            yield message

    def send(self, command: HostCommand) -> None:
        self.asked.append(command)

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._said.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@dataclass
class Slot:
    """Everything of a slot but its process and its HTTP."""

    parts: Parts
    world: World
    host: ToldHost
    answers: Answers
    pool: ThreadPoolExecutor

    def hint(self) -> Predict:
        """Have the image predicted in the background; returns what the host was asked once it is under way."""
        self.answers.offer(self._request(background=True))
        return self.under_way(1)

    def ask(self) -> "Future[Answer]":
        """Ask for it."""
        ticket = self.answers.accept(self._request(background=False))
        return self.pool.submit(self.answers.answer, ticket)

    def under_way(self, count: int) -> Predict:
        """Wait until the host was asked for so many predictions; returns the last."""
        wait_until(lambda: len(self.host.predictions) >= count, "a prediction", step_s=0.005)
        return self.host.predictions[-1]

    def _request(self, *, background: bool) -> SlotPredict:
        image = self.world.images[-1]
        return SlotPredict(dataset_id=self.world.dataset, image_id=image, spec=InferSpec(), background=background)


@pytest.fixture
def slot(tmp_path: Path, sqlite_url: str) -> Iterator[Slot]:
    """A slot that serves version 0 of an experiment, whose data set has one image that can be read."""
    parts = Parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url))
    world = _with_image(parts, build(parts.catalog, images=1), tmp_path / "images")
    (tmp_path / "work" / "out").mkdir(parents=True)
    host = ToldHost(tmp_path / "work" / "out")
    engine, versions = Engine(host, tmp_path / "work"), Versions()
    versions.switch(Served(Published(1, world.version, "b" * 64, None, {1: "liver"}), engine, "v"))
    make(tmp_path / "busy")
    answers = Answers(parts, "slot", versions, Busy(tmp_path / "busy"), live_limit=8, background_limit=2)
    with ThreadPoolExecutor(4) as pool:
        yield Slot(parts, world, host, answers, pool)
        answers.lanes.close()
        engine.close()
    parts.close()


def test_a_live_request_joins_the_background_prediction_of_its_image_and_hurries_it(slot: Slot) -> None:
    background = slot.hint()
    live = slot.ask()
    wait_until(lambda: Hurry(id=background.id) in slot.host.asked, "the hurry", step_s=0.005)
    slot.host.answer(background)

    assert live.result(30).score == 0.25
    assert background.background
    assert len(slot.host.predictions) == 1
    assert slot.ask().result(30).cached


def test_two_live_requests_for_one_image_are_one_prediction(slot: Slot) -> None:
    asked: Sequence[Future[Answer]] = [slot.ask(), slot.ask()]
    command = slot.under_way(1)
    slot.host.answer(command)

    assert asked[0].result(30).content == asked[1].result(30).content
    assert len(slot.host.predictions) == 1
    assert Hurry(id=command.id) not in slot.host.asked


def test_who_joined_is_told_of_the_failure_and_the_next_one_tries_anew(slot: Slot) -> None:
    background = slot.hint()
    live = slot.ask()
    wait_until(lambda: Hurry(id=background.id) in slot.host.asked, "the hurry", step_s=0.005)
    slot.host.fail(background)
    with pytest.raises(BundleError):
        live.result(30)

    again = slot.ask()
    slot.host.answer(slot.under_way(2))
    assert not again.result(30).cached


def test_a_prediction_that_cannot_be_kept_is_answered_all_the_same(slot: Slot) -> None:
    cache = slot.parts.settings.cache_dir
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "prediction").write_text("no folder, so nothing can be kept there")
    live = slot.ask()
    slot.host.answer(slot.under_way(1))
    assert live.result(30).content.startswith(b"NRRD")

    wait_until(lambda: not slot.answers._flights, "the attempt to keep it", step_s=0.005)
    again = slot.ask()
    slot.host.answer(slot.under_way(2))
    assert not again.result(30).cached


def test_the_uncertainty_of_a_prediction_made_ahead_is_the_images_score(slot: Slot) -> None:
    slot.host.answer(slot.hint())

    def scores() -> list[tuple[int, float]]:
        with slot.parts.catalog.read() as session:
            return list(session.execute(select(Candidate.image_id, Candidate.score)).tuples())

    wait_until(lambda: scores() == [(slot.world.images[-1], 0.25)], "the score", step_s=0.01)


def _with_image(parts: Parts, world: World, folder: Path) -> World:
    """Add an image that lies in a folder to the world's data set; its row comes last."""
    folder.mkdir()
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=np.float32), np.eye(4)), folder / "image.nii.gz")
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = {"kind": "folder", "url": str(folder)}
    sync_dataset(parts, world.dataset)
    with parts.catalog.read() as session:
        images = list(session.scalars(select(Image.id).where(Image.dataset_id == world.dataset).order_by(Image.id)))
    return World(world.dataset, world.experiment, world.version, images)
