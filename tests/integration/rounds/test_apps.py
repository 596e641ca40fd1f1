"""An app from its folder to a published version: registered, served, trained, judged."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from sqlalchemy import select
from torch import Tensor, nn

from configs.errors import InvalidRequestError
from configs.settings import Settings
from configs.specs.annotation import GateSpec
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.wire.host import Finished, Load, Loaded, Predict, Prediction, ServeRequest
from infra.adapters.catalog import contents
from infra.adapters.catalog.tables import Dataset, Experiment, Image, ImageInfo, Organisation
from infra.adapters.catalog.tables.base import new_id
from infra.services import people
from infra.services.callers import Caller
from infra.services.data import images
from infra.services.data.images import NextImage
from infra.services.learning import apps, experiments
from infra.services.learning.experiment_requests import Datasets, NewExperiment
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.rounds.jobs.start import start_train
from tasks.selection.next_image import next_image, upcoming
from tasks.selection.refresh import refresh_scores
from tests.builders import ORG
from tests.rounds_in_memory import Ward
from tests.runs_in_memory import RunsInMemory
from tests.training_in_memory import TrainingInMemory

GUIDE = Path(__file__).parents[2] / "apps" / "guide_004"
PATIENTS = ("a", "b", "c", "d", "e")
SHAPE = (24, 22, 20)


@pytest.fixture
def parts(sqlite_url: str, tmp_path: Path, runs: RunsInMemory) -> Iterator[Parts]:
    settings = Settings(home=tmp_path / "home", catalog_url=sqlite_url)
    settings.home.mkdir()
    opened = Parts(settings, orchestrator=runs)
    yield opened
    opened.close()


NOW = """
import time
from monai.transforms import LoadImage
from guide import MyApp
from tasks.compute.apps.interfaces import Strategy

class Wanted(Strategy):
    per_request = True

    def __init__(self, conf, wait_s):
        self.conf, self.wait_s = conf, wait_s

    def __call__(self, request, datastore):
        time.sleep(self.wait_s)
        [labelled], wanted = datastore.get_labeled_images(), self.conf["wanted"]
        label = LoadImage(image_only=True)(datastore.get_label_uri(labelled))
        known = wanted in datastore.get_unlabeled_images() and datastore.get_image_info(wanted)
        right = int((label == 1).sum()) == int(self.conf["drawn"]) and datastore.get_label_uri(wanted) is None
        return wanted if known and right else None

class NowApp(MyApp):
    keys = {"wanted": "the image to be given", "drawn": "voxels of the label that there is"}

    def init_strategies(self):
        return {"at_once": Wanted(self.conf, 0), "never": Wanted(self.conf, 600)}

app = NowApp
"""


class Brightness(nn.Module):
    """A scoring model: bright images first."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean()


def _app(folder: Path) -> Path:
    """Return the guide's app with a scoring model."""
    app = folder / "guide_004"
    shutil.copytree(GUIDE, app, ignore=shutil.ignore_patterns("__pycache__"))
    torch.jit.script(Brightness()).save(app / "scoring_model.pt")  # type: ignore[no-untyped-call]  # PyTorch's
    return app


def _scores_order(parts: Parts, experiment: Experiment, dataset: str) -> None:
    """The app's scoring model orders the images, and says so of each; what an app has not is refused."""
    assert refresh_scores(parts, experiment.id, dataset).images == len(PATIENTS)
    with parts.catalog.read() as session:
        given = [image.key for image in upcoming(session, dataset, count=4, experiment_id=experiment.id)]
        said = dict(session.execute(select(Image.key, ImageInfo.said).join(ImageInfo)).tuples().all())
    bright = sorted(said, key=lambda key: said[key]["my_score"], reverse=True)
    assert given == bright[:4]
    with parts.catalog.write() as session, pytest.raises(InvalidRequestError, match="no strategy 'app:your_score'"):
        next_image(session, dataset, holder="ann", experiment_id=experiment.id, strategy="app:your_score")


@pytest.mark.usefixtures("warm_host")
def test_a_strategy_that_is_asked_for_each_image_has_only_so_much_time(
    parts: Parts, tmp_path: Path, runs: RunsInMemory
) -> None:
    """It sees labels, and images of the second share as those of the first: a share is 256 KiB of what is said."""
    drawn = {f"{name}/ct": _spleen(tmp_path / "images" / name, number) for number, name in enumerate(PATIENTS)}
    caller, dataset = people.operator(ORG), _dataset(parts, tmp_path / "images")
    with parts.catalog.write() as session:
        first, *others, last = upcoming(session, dataset, count=len(PATIENTS))
        for image in (first, *others):
            contents.say(session, image.id, {"report": "x" * 100_000})
    wanted = max(image.key for image in others)
    app = tmp_path / "now"
    app.mkdir()
    shutil.copyfile(GUIDE / "app.py", app / "guide.py")
    (app / "app.py").write_text(NOW)
    voxels = int(np.asarray(nib.load(drawn[last.key]).dataobj).sum())
    conf = {"wanted": wanted, "drawn": str(voxels), "skip_scoring": "true"}
    (added,) = apps.add(parts, caller, str(app), conf)
    request = NewExperiment(
        name="now", arch="monai_segmentation", base=[added.base_experiment], datasets=Datasets(train=[dataset])
    )
    experiment = experiments.create(parts, caller, request).row.id
    save_label(parts, dataset, last.key, drawn[last.key], LabelParams(), "ann")
    patient, hasty = (
        Parts(parts.settings.model_copy(update={"strategy_s": limit_s}), orchestrator=runs) for limit_s in (120.0, 0.5)
    )
    asked = {name: NextImage(experiment_id=experiment, strategy=f"app:{name}") for name in ("at_once", "never")}

    assert images.take_next(patient, caller, dataset, asked["at_once"]).key == wanted
    assert images.take_next(hasty, caller, dataset, asked["never"]).key == first.key
    patient.close()
    hasty.close()


def _spleen(folder: Path, number: int) -> Path:
    """Write a bright ball; return its label."""
    random = np.random.default_rng(number)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    ball = np.linalg.norm(index - random.uniform(9, np.array(SHAPE) - 9), axis=-1) < 5
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image((ball + random.normal(0, 0.1, SHAPE)).astype(np.float32), np.eye(4)), folder / "ct.nii.gz")
    label = folder.parents[1] / f"{folder.name}.nii.gz"
    nib.save(nib.Nifti1Image(ball.astype(np.uint8), np.eye(4)), label)
    return label


def _dataset(parts: Parts, folder: Path) -> str:
    with parts.catalog.write() as session:
        session.add(Organisation(id=ORG))
        session.flush()
        dataset = Dataset(id=new_id(), org=ORG, name="d", spec={"kind": "folder", "url": str(folder)})
        session.add(dataset)
    sync_dataset(parts, dataset.id)
    with parts.catalog.write() as session:
        for image in session.scalars(select(Image)):
            image.held_out = image.key.startswith("e")
    return dataset.id


def _experiment(parts: Parts, caller: Caller, folder: Path, dataset: str) -> Experiment:
    (added,) = apps.add(parts, caller, str(folder), {"models": "segmentation_spleen"})
    (again,) = apps.add(parts, caller, str(folder), {"models": "segmentation_spleen"})
    assert again.bundle.id == added.bundle.id
    assert (added.bundle.name, added.bundle.tier) == ("guide_004_segmentation_spleen", "A")
    assert added.bundle.labels == {"1": "spleen"}
    assert added.bundle.check["notes"] == []
    request = NewExperiment(
        name="spleen",
        arch="monai_segmentation",
        base=[added.base_experiment],
        datasets=Datasets(train=[dataset]),
        strategy="app:my_score",
    )
    for other in ("app:your_score", "app:my_scoring_method"):
        with pytest.raises(InvalidRequestError, match=f"no strategy '{other}'; it has app:my_score$"):
            experiments.create(parts, caller, request.model_copy(update={"strategy": other}))
    return experiments.create(parts, caller, request).row


@pytest.mark.usefixtures("warm_host")
def test_the_guides_app_predicts_learns_and_is_published(parts: Parts, tmp_path: Path) -> None:
    drawn = {name: _spleen(tmp_path / "images" / name, number) for number, name in enumerate(PATIENTS)}
    dataset = _dataset(parts, tmp_path / "images")
    experiment = _experiment(parts, people.operator(ORG), _app(tmp_path), dataset)
    _scores_order(parts, experiment, dataset)
    assert _predicted(parts, experiment, tmp_path).shape == SHAPE
    for patient, label in drawn.items():
        assert save_label(parts, dataset, f"{patient}/ct", label, LabelParams(), "ann").warnings == []

    ward = Ward(parts, TrainingInMemory(), tmp_path, dataset, experiment.id, {})
    with parts.catalog.write() as session:
        spec = RoundSpec(publish="gate", gate=GateSpec(min_cases=5), train=TrainSpec(epochs=5, learning_rate=1e-2))
        job = start_train(session, session.get_one(Experiment, experiment.id), spec, actor="ann").id
    first = ward.published()
    result = ward.run(ward.claim(job))

    assert ward.published() not in {None, first}, result
    assert result.metric_name == "mean_dice"


def _predicted(parts: Parts, experiment: Experiment, folder: Path) -> np.ndarray:
    """Return what the untrained model draws in an image."""
    bundle, out = parts.settings.home / "bundles" / experiment.bundle_id, folder / "serve" / "out"
    request = ServeRequest(bundle=str(bundle), labels={1: "spleen"}, out=str(out), cache=str(folder / "cache"))
    image = folder / "images" / "a" / "ct.nii.gz"
    with parts.hosts.start(request, work=folder / "serve", bundle=bundle, readable=[image], threads=1) as host:
        host.send(Load(version="v0"))
        for message in host.messages():
            assert not isinstance(message, Finished)
            if isinstance(message, Loaded):
                host.send(Predict(id="p", version="v0", image=[str(image)], name="answer.nii.gz"))
            if isinstance(message, Prediction):
                return np.asarray(nib.load(message.path).dataobj)
    raise AssertionError("it said nothing")
