"""A realtime slot with a real bundle host: answers, swaps under load, and comes back from what kills it."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import numpy as np
import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from requests_toolbelt.multipart.decoder import MultipartDecoder
from sqlalchemy import select

from configs.errors import BusyError, InvalidRequestError, NotFoundError
from configs.specs.infer import InferSpec
from configs.states import SlotState
from configs.wire.slot import LabelForm
from infra.adapters.catalog import slots
from infra.adapters.catalog.tables import Candidate, Dataset, Experiment, Image, Organisation
from infra.adapters.slots.client import SlotAnswer
from infra.doors.api.logins import FailedLogins
from infra.services import people
from infra.services.callers import Caller, Role
from infra.services.data.images import NextImage
from infra.services.learning.inference import prefetch
from tasks.images.geometry import RAS_FROM_LPS
from tasks.images.sync import sync_dataset
from tasks.images.volume import Volume, read_volume
from tasks.selection.next_image import next_image, upcoming
from tasks.serving.predict import hint, predict
from tests.integration.realtime.conftest import Running, served
from tests.processes import wait_until
from tests.realtime_home import AFFINE_RAS, BUNDLE, LABELS, OTHER_BUNDLE, SHAPE, Realtime

CLIENTS = 8
SWAPS = (2, 3, 1, 2, 3, 1, 2, 3, 1, 2)
_numbers = itertools.count()


def _ask(home: Realtime, image: str = "ada", form: LabelForm = "nrrd", spec: InferSpec | None = None) -> SlotAnswer:
    return predict(home.parts, home.experiment_id, home.dataset_id, home.images[image], spec or InferSpec(), form)


def _fresh() -> InferSpec:
    """A spec that nobody has asked for before."""
    return InferSpec(params={"number": next(_numbers)})


def _volume(answer: SlotAnswer, folder: Path) -> Volume:
    path = folder / ("label.nrrd" if "nrrd" in answer.media_type else "label.nii.gz")
    path.write_bytes(answer.content)
    return read_volume(path)


def _only_label(answer: SlotAnswer, folder: Path) -> int:
    [value] = np.unique(_volume(answer, folder).array)
    return int(value)


@contextmanager
def _load(home: Realtime, retry: Callable[[BaseException], bool] = lambda _: False) -> Iterator[list[SlotAnswer]]:
    """Have clients ask for fresh predictions until the block ends; what they may not retry fails the test.

    So does an answer of an older publication than the same client had before.
    """
    answers: list[SlotAnswer] = []
    end = Event()

    def ask() -> None:
        newest = 0
        while not end.is_set():
            try:
                answer = _ask(home, spec=_fresh())
                assert answer.seq >= newest
                newest = answer.seq
                answers.append(answer)
            except BusyError as error:
                if not retry(error):
                    raise
                end.wait(0.05)

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask) for _ in range(CLIENTS)]
        try:
            wait_until(lambda: bool(answers), "the first answer")
            yield answers
        finally:
            end.set()
        for client in clients:
            client.result()


def _hosts(running: Running) -> list[psutil.Process]:
    assert running.row.pid
    children: list[psutil.Process] = psutil.Process(running.row.pid).children(recursive=True)
    return children


@pytest.mark.parametrize("form", ["nrrd", "nifti"])
def test_a_prediction_lies_on_the_image_it_was_made_of(running: Running, form: LabelForm, tmp_path: Path) -> None:
    answer = _ask(running.home, form=form)

    label = _volume(answer, tmp_path)
    assert label.array.shape == SHAPE
    assert label.array.dtype == np.uint8
    np.testing.assert_allclose(label.affine, RAS_FROM_LPS @ AFFINE_RAS, atol=1e-4)
    assert np.unique(label.array).tolist() == [1]
    assert answer.seq == running.row.serving_seq


def test_clicks_are_refused_by_a_model_that_takes_none(running: Running) -> None:
    with pytest.raises(InvalidRequestError, match="takes no clicks"):
        _ask(running.home, spec=InferSpec(points=((1, 2, 3),), point_labels=(1,), label_prompt=(1,)))


def test_the_same_question_is_answered_from_the_cache(running: Running) -> None:
    spec = _fresh()
    first = _ask(running.home, spec=spec)
    again = _ask(running.home, spec=spec)

    assert (first.cached, again.cached) == (False, True)
    assert again.content == first.content
    assert again.score == first.score


def test_a_hinted_image_is_predicted_before_somebody_asks(running: Running) -> None:
    home = running.home
    row = running.row
    hint(home.parts, home.experiment_id, home.dataset_id, home.images["di"])
    wait_until(
        lambda: (
            (home.parts.settings.home / "logs" / f"slot-{row.id}.jsonl").read_text().count('"background": true') > 0
        ),
        "the background prediction",
    )

    assert _ask(home, "di").cached


def test_the_two_images_that_come_next_are_predicted_ahead_and_so_scored(running: Running) -> None:
    home = running.home
    caller = Caller(org=home.org, subject="ann", name="ann", role=Role.ANNOTATOR)
    with home.parts.catalog.write() as session:
        given = next_image(session, home.dataset_id, holder="ann", experiment_id=home.experiment_id)
        ahead = upcoming(session, home.dataset_id, count=2, experiment_id=home.experiment_id)
    prefetch(home.parts, caller, NextImage(experiment_id=home.experiment_id), given)

    def scored() -> set[int]:
        with home.parts.catalog.read() as session:
            return set(session.scalars(select(Candidate.image_id).where(Candidate.method == "entropy")))

    answered_live = {home.images["ada"]}  # above; such an answer waits for no score, and is kept without one
    wait_until(lambda: scored() >= {image.id for image in ahead} - answered_live, "the scores of the next two")
    keys = {number: key for key, number in home.images.items()}
    assert all(_ask(home, keys[image.id]).cached for image in (given, *ahead))


def test_a_second_process_finds_the_slot_taken_and_leaves_quietly(running: Running) -> None:
    before = running.row
    second = subprocess.run(
        [sys.executable, "-m", "infra.doors.realtime", "--slot", running.slot_id],
        env=running.home.parts.settings.child_environment(),
        check=False,
        timeout=60,
    )

    assert second.returncode == 0
    assert (running.row.epoch, running.row.pid) == (before.epoch, before.pid)


def test_an_image_of_another_data_set_is_not_there(running: Running) -> None:
    home = running.home
    with pytest.raises(NotFoundError):
        predict(home.parts, home.experiment_id, "another", home.images["ada"], InferSpec(), "nrrd")


def _elsewhere(home: Realtime, label: int) -> Realtime:
    """Return an experiment of another organisation, on the same folder, that answers *label* everywhere."""
    with home.parts.catalog.write() as session:
        session.add(Organisation(id="elsewhere"))
        session.flush()
        dataset = Dataset(org="elsewhere", name="heads", spec=session.get_one(Dataset, home.dataset_id).spec)
        experiment = Experiment(org="elsewhere", name="tissue", arch="sample", bundle_id=BUNDLE, labels=LABELS)
        experiment.lineage, experiment.realtime = "elsewhere", True
        session.add_all([dataset, experiment])
        session.flush()
    sync_dataset(home.parts, dataset.id)
    with home.parts.catalog.read() as session:
        found = select(Image).where(Image.dataset_id == dataset.id)
        images = {image.key: image.id for image in session.scalars(found)}
    made = Realtime(home.parts, "elsewhere", dataset.id, images, experiment.id)
    made.publish(label)
    return made


def test_two_organisations_ask_at_once_and_each_hears_its_own_model(
    running: Running, app: FastAPI, tmp_path: Path
) -> None:
    mine = _only_label(_ask(running.home), tmp_path)
    theirs = next(label for label in (1, 2, 3) if label != mine)
    other = _elsewhere(running.home, theirs)
    parts = running.home.parts
    app.state.parts, app.state.failed_logins = parts, FailedLogins()
    keys = {
        home.org: people.create_key(parts, people.operator(home.org), name="ann", role=Role.ANNOTATOR).secret
        for home in (running.home, other)
    }

    def asks(number: int) -> tuple[int, int, int]:
        """Ask for one of four images of one's own, then of the others'; return labels heard, expected, and a status."""
        home, foreign, label = [(running.home, other, mine), (other, running.home, theirs)][number % 2]
        answers = []
        for asked in (home, foreign):
            path = f"/api/v1/orgs/{home.org}/experiments/{asked.experiment_id}/jobs"
            image = sorted(home.images)[number // 2 % 4]
            fresh = {"number": next(_numbers)}
            specs = {"image": image, "dataset_id": home.dataset_id, "bundle_params": fresh}
            body = {"action": "inference", "specs": specs}
            answers.append(client.post(path, json=body, headers={"Authorization": f"Bearer {keys[home.org]}"}))
        assert answers[0].status_code == 201, answers[0].text
        (part,) = MultipartDecoder(answers[0].content, answers[0].headers["content-type"]).parts
        file = tmp_path / f"{number}.nrrd"
        file.write_bytes(part.content)
        [heard] = np.unique(read_volume(file).array)
        return int(heard), label, answers[1].status_code

    client = TestClient(app, base_url="http://127.0.0.1:8000")
    with served(other, parts), client, ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(asks, range(2 * CLIENTS)))

    assert {(heard == expected, status) for heard, expected, status in found} == {(True, 404)}
    assert {heard for heard, _, _ in found} == {mine, theirs}


def test_ten_swaps_under_load_leave_no_answer_failed_mixed_or_of_an_older_model(
    running: Running, tmp_path: Path
) -> None:
    home = running.home
    labels = {_ask(home).version: 1}
    with _load(home) as answers:
        for label in SWAPS:
            version = home.publish(label)
            labels[version] = label
            wait_until(lambda wanted=version: answers[-1].version == wanted, "an answer of the new version")  # type: ignore[misc]

    assert {answer.version for answer in answers} == set(labels)
    for answer in answers:
        assert _only_label(answer, tmp_path) == labels[answer.version]


def test_a_version_of_another_bundle_is_served_by_a_host_of_its_own(running: Running, tmp_path: Path) -> None:
    before = _hosts(running)
    version = running.home.publish(3, OTHER_BUNDLE)
    wait_until(lambda: _ask(running.home).version == version, "an answer of the other bundle")

    assert _only_label(_ask(running.home), tmp_path) == 3
    wait_until(lambda: not any(host.is_running() for host in before), "the first bundle's host to end")


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(running: Running, tmp_path: Path) -> None:
    home = running.home
    before, label = running.row.serving_seq, _only_label(_ask(home), tmp_path)
    with home.parts.catalog.read() as session:
        published = slots.published(session, running.slot_id)
    assert published
    home.publish_weights(home.parts.blobs.put_bytes(b"no weights at all"), published.bundle_id)
    wait_until(lambda: bool(running.row.error), "the slot to say why")

    assert running.row.serving_seq == before
    assert running.row.state == SlotState.READY
    assert _only_label(_ask(home, spec=_fresh()), tmp_path) == label

    home.publish(1, published.bundle_id)
    wait_until(lambda: (running.row.serving_seq or 0) > (before or 0) + 1, "the next version to be served")
    assert running.row.error == ""


def test_a_host_that_is_killed_under_load_comes_back(running: Running) -> None:
    epoch = running.row.epoch
    with _load(running.home, retry=lambda error: type(error) is BusyError) as answers:
        for host in _hosts(running):
            host.kill()
        done = len(answers)
        wait_until(lambda: len(answers) > done + CLIENTS, "answers of the new host")

    assert running.row.epoch == epoch


def test_a_slot_that_is_killed_is_started_again(running: Running) -> None:
    before = running.row
    hosts = _hosts(running)
    assert before.pid
    os.kill(before.pid, signal.SIGKILL)
    wait_until(
        lambda: running.row.epoch > before.epoch and running.row.state == SlotState.READY,
        "the slot's return",
    )

    assert not any(host.is_running() and host.status() != psutil.STATUS_ZOMBIE for host in hosts)
    assert _ask(running.home, spec=_fresh()).seq == running.row.serving_seq


def test_a_slot_that_is_switched_off_finishes_what_it_has_and_stops(running: Running) -> None:
    home, row = running.home, running.row
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(_ask, home, spec=_fresh())
        wait_until(
            lambda: home.parts.slots.health(row.endpoint, row.token or "").live_waiting == 1, "a request", step_s=0.005
        )
        home.switch_off(running.slot_id)
        assert under_way.result().seq == row.serving_seq

    running.babysitter.join(60)
    assert not running.babysitter.is_alive()
    assert running.row.state == SlotState.STOPPED
    assert not psutil.pid_exists(row.pid or 0)
    with pytest.raises(InvalidRequestError, match="switched off"):
        _ask(home)
