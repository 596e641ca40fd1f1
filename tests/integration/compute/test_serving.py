"""A serving host swaps versions while it predicts, and answers every request with the version it named."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs.settings import Settings
from configs.specs.infer import InferSpec
from configs.wire.host import Case, Drop, Failed, HostMessage, Hurry, Load, Loaded, Predict, Prediction, ServeRequest
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion
from infra.adapters.compute.conversation import HostProcess
from infra.adapters.compute.process import ProcessHosts
from infra.wiring import Parts
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.delivery.dispatch import RECORDS, deliver_due
from tasks.delivery.tracking import group_name
from tasks.publishing.publish import publish_by_person
from tests.builders import BUNDLE, ORG, add_version, build, start_loop
from tests.integration.compute.conftest import AFFINE, LABELS, SAMPLE, SHAPE

pytestmark = pytest.mark.slow


class Talk:
    """A host, its messages one by one, and short ways to ask."""

    def __init__(self, host: HostProcess, image: str) -> None:
        self.host = host
        self.image = image
        self.messages = host.messages()
        self._count = 0

    def ask(self, version: str, *, image: str = "", background: bool = False, wanted: tuple[int, ...] = ()) -> str:
        """Send one prediction; returns its id."""
        self._count += 1
        name = f"p{self._count}"
        self.host.send(
            Predict(
                id=name,
                version=version,
                image=[image or self.image],
                name=f"{name}.nii.gz",
                background=background,
                params=InferSpec(label_prompt=wanted),
            )
        )
        return name

    def until(self, count: int) -> list[HostMessage]:
        """Return the next messages, but for the greeting."""
        return [message for message in (next(self.messages) for _ in range(count)) if message.kind != "ready"]


@pytest.fixture(scope="module")
def talk(hosts: ProcessHosts, folder: Path, cases: list[Case]) -> Iterator[Talk]:
    """A serving host with version `one` loaded."""
    request = ServeRequest(bundle=str(SAMPLE), labels=LABELS, out=str(folder / "served"), cache=str(folder / "cache"))
    with hosts.start(request, work=folder / "serve", bundle=SAMPLE, readable=[folder], threads=1) as host:
        talk = Talk(host, cases[0].image[0])
        host.send(Load(version="one", weights=str(weights(folder, 1))))
        assert [message.kind for message in talk.until(2)] == ["loaded"]
        yield talk


def weights(folder: Path, seed: int) -> Path:
    """Return other random weights of the sample with these labels."""
    bundle = Bundle(SAMPLE)
    network, _ = build_network(bundle, bundle.inference(), labels=LABELS, weights=None)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: torch.randn(value.shape, generator=generator) * 0.2
        if value.is_floating_point() and "running" not in name
        else value
        for name, value in network.state_dict().items()
    }
    path = folder / f"weights{seed}.safetensors"
    save_file(state, path)
    return path


def test_a_swap_under_way_disturbs_no_prediction(talk: Talk, folder: Path) -> None:
    asked = {talk.ask("one"): "one" for _ in range(2)}
    talk.host.send(Load(version="two", weights=str(weights(folder, 2))))
    asked |= {talk.ask("one"): "one" for _ in range(2)}
    answers = talk.until(5)
    assert Loaded(version="two", arrangement="float32").version in [m.version for m in answers if isinstance(m, Loaded)]
    asked |= {talk.ask(version): version for version in ("two", "one", "two")}
    talk.host.send(Drop(version="one"))
    answers += talk.until(3)
    predictions = [message for message in answers if isinstance(message, Prediction)]
    assert {message.id: message.version for message in predictions} == asked
    maps = {version: [read(m) for m in predictions if m.version == version] for version in ("one", "two")}
    for same in maps.values():
        assert all(np.array_equal(same[0], other) for other in same)
    assert not np.array_equal(maps["one"][0], maps["two"][0])
    assert {message.score for message in predictions} == {None}, "whoever waits does not wait for a score"

    gone = talk.ask("one")
    (refused,) = talk.until(1)
    assert isinstance(refused, Failed)
    assert (refused.id, refused.code) == (gone, "bad_input")


def test_a_prediction_made_ahead_is_scored(talk: Talk, folder: Path) -> None:
    talk.host.send(Load(version="ahead", weights=str(weights(folder, 4))))
    talk.until(1)
    talk.ask("ahead", background=True)
    (ahead,) = talk.until(1)
    assert isinstance(ahead, Prediction)
    assert ahead.score is not None
    assert 0 <= ahead.score <= 1


def test_a_prediction_lies_on_the_image_own_grid(talk: Talk, folder: Path) -> None:
    talk.host.send(Load(version="grid", weights=str(weights(folder, 3))))
    talk.until(1)
    talk.ask("grid", wanted=(2,))
    (answer,) = talk.until(1)
    assert isinstance(answer, Prediction)
    image = nib.load(answer.path)
    assert image.shape == SHAPE
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
    assert set(np.unique(read(answer))) <= {0, 2}


def test_the_background_lets_those_who_wait_go_first_until_somebody_waits_for_it(talk: Talk, folder: Path) -> None:
    large = str(folder / "large.nii.gz")
    noise = np.random.default_rng(0).normal(size=(100, 150, 80)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, AFFINE), large)
    talk.host.send(Load(version="fair", weights=str(weights(folder, 5))))
    talk.until(1)
    behind = talk.ask("fair", image=large, background=True)
    live = [talk.ask("fair") for _ in range(4)]
    assert [answer.id for answer in talk.until(5) if isinstance(answer, Prediction)] == [*live, behind]

    behind = talk.ask("fair", image=large, background=True)
    for _ in range(40):
        talk.ask("fair")
    talk.host.send(Hurry(id=behind))
    order = [answer.id for answer in talk.until(41) if isinstance(answer, Prediction)]
    assert order.index(behind) < 39


def test_what_cannot_be_read_or_loaded_is_answered_and_the_host_goes_on(talk: Talk, folder: Path) -> None:
    (folder / "broken.nii.gz").write_bytes(b"no image")
    (folder / "broken.safetensors").write_bytes(b"no weights")
    talk.host.send(Load(version="fine", weights=str(weights(folder, 4))))
    talk.until(1)
    talk.host.send(Load(version="bad", weights=str(folder / "broken.safetensors")))
    (failed,) = talk.until(1)
    assert isinstance(failed, Failed)
    assert failed.id == "bad"
    talk.host.send(Predict(id="x", version="fine", image=[str(folder / "broken.nii.gz")], name="x.nii.gz"))
    (failed,) = talk.until(1)
    assert isinstance(failed, Failed)
    assert (failed.id, failed.code) == ("x", "unreadable")
    talk.ask("fine", background=True)
    (answer,) = talk.until(1)
    assert isinstance(answer, Prediction)


def test_what_mlflow_has_as_published_predicts_the_same_in_a_process_that_knows_nothing_of_us(
    talk: Talk, folder: Path, sqlite_url: str, mlflow_uri: str, tmp_path: Path
) -> None:
    file = weights(folder, 5)
    talk.host.send(Load(version="published", weights=str(file)))
    talk.until(1)
    talk.ask("published")
    (here,) = talk.until(1)
    assert isinstance(here, Prediction)
    expected = read(here)
    assert len(np.unique(expected)) > 1
    parts = Parts(Settings(home=folder / "home", catalog_url=sqlite_url, mlflow_tracking_uri=mlflow_uri))
    name = publish(parts, file)
    parts.close()
    loads = (
        "import sys, mlflow, numpy\n"
        "model = mlflow.pyfunc.load_model(f'models:/{sys.argv[1]}@published')\n"
        "one, (same,) = model.predict(sys.argv[2]), model.predict([sys.argv[2]])\n"
        "assert (one == same).all() and not {'tasks', 'configs', 'infra'} & set(sys.modules)\n"
        "numpy.save('there.npy', one)\n"
    )
    told = {name: value for name, value in os.environ.items() if not name.startswith(("TEACHBACK_", "PYTHON"))}
    told |= {"MLFLOW_TRACKING_URI": mlflow_uri, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", loads, name, talk.image],
        env=told,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = np.load(tmp_path / "there.npy", allow_pickle=False)
    assert (there.dtype, there.shape) == (np.uint8, SHAPE)
    assert np.array_equal(there, expected)


def publish(parts: Parts, file: Path) -> str:
    """Register the sample with these weights as a published version, tell MLflow, and return the model's name there."""
    world = build(parts.catalog, images=1)
    loop = start_loop(parts.catalog, world)
    version = add_version(parts.catalog, world, 1, loop)
    shutil.copytree(SAMPLE, parts.settings.home / "bundles" / BUNDLE)
    labels = {str(index): name for index, name in LABELS.items()}
    with parts.catalog.write() as session:
        round_ = Job(org=ORG, experiment_id=world.experiment, dataset_id=world.dataset, action="train", parent_id=loop)
        session.add(round_)
        session.flush()
        session.get_one(ModelVersion, version).job_id = round_.id
        session.get_one(ModelVersion, version).weights = parts.blobs.put_file(file)
        experiment = session.get_one(Experiment, world.experiment)
        experiment.labels = labels
        publish_by_person(session, world.experiment, version, expected=world.version, actor="eve", reason="")
    assert deliver_due(parts, RECORDS) == 1
    return group_name(experiment)


def read(prediction: Prediction) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(nib.load(prediction.path).dataobj, dtype=np.uint8)
