"""Two experiments serve and a training runs, on one machine, each with its part of the device."""

import itertools
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from configs.specs.infer import InferSpec
from configs.specs.train import TrainSpec
from configs.wire.host import Case, Progress, TrainRequest, TrainResult
from infra.adapters.catalog.tables import DeviceClaim, Experiment, Slot
from infra.adapters.slots.client import SlotAnswer
from tasks.devices.hold import computing
from tasks.devices.needs import training_need
from tasks.serving.predict import predict
from tests.integration.realtime.conftest import served
from tests.realtime_home import BUNDLE, LABELS, SAMPLE, Realtime, open_realtime

pytestmark = pytest.mark.slow

STEPS = 3
SHAPE = (40, 34, 28)
_numbers = itertools.count()


def _another(home: Realtime) -> Realtime:
    """Make a second experiment on the same data set, whose model answers label 2."""
    with home.parts.catalog.write() as session:
        experiment = Experiment(
            org=home.org, name="another", arch="sample", bundle_id=BUNDLE, labels=LABELS, lineage="m", realtime=True
        )
        session.add(experiment)
        session.flush()
    other = replace(home, experiment_id=experiment.id)
    other.publish(2)
    return other


def _request(folder: Path) -> TrainRequest:
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[10:30, 10:25, 8:20] = 1
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    for name, values in (("image", label + np.random.default_rng(0).normal(0, 0.1, SHAPE)), ("label", label)):
        kind = np.uint8 if name == "label" else np.float32
        nib.save(nib.Nifti1Image(values.astype(kind), affine), folder / f"{name}.nii.gz")
    return TrainRequest(
        bundle=str(SAMPLE),
        cases=[Case(id="1", image=[str(folder / "image.nii.gz")], label=str(folder / "label.nii.gz"))],
        labels={int(index): name for index, name in LABELS.items()},
        spec=TrainSpec(epochs=STEPS, max_steps=STEPS),
        out=str(folder / "out"),
        cache=str(folder / "cache"),
    )


def _ask(home: Realtime) -> SlotAnswer:
    spec = InferSpec(params={"number": next(_numbers)})
    return predict(home.parts, home.experiment_id, home.dataset_id, home.images["ada"], spec, "nrrd")


def _claims(home: Realtime) -> dict[str, float]:
    with home.parts.catalog.read() as session:
        return {row.kind: row.amount for row in session.scalars(select(DeviceClaim).order_by(DeviceClaim.kind))}


def test_two_experiments_serve_and_a_training_runs_on_one_machine(tmp_path: Path) -> None:
    for name in ("images", "train"):
        (tmp_path / name).mkdir()
    one = open_realtime(tmp_path / "home", tmp_path / "images")
    two, parts = _another(one), one.parts
    seen: list[int] = []
    with served(one, parts) as first, served(two, parts) as second:
        need = training_need(parts, BUNDLE)
        work = tmp_path / "train" / "work"
        with computing(
            parts, _request(tmp_path / "train"), need, holder="train:round:1", work=work, bundle=SAMPLE
        ) as host:
            for message in host.messages():
                if isinstance(message, Progress):
                    seen.append(message.step)
                    assert (_ask(one).version, _ask(two).version) == (_published(one), _published(two))
                    assert set(_claims(one)) == {"live", "train"}
                if isinstance(message, TrainResult):
                    assert message.steps == STEPS
        assert set(_claims(one)) == {"live"}
        assert first.id != second.id
    assert seen[-1] == STEPS
    assert _claims(one) == {}
    with parts.catalog.read() as session:
        assert {slot.error for slot in session.scalars(select(Slot))} == {""}
    parts.close()


def _published(home: Realtime) -> str:
    with home.parts.catalog.read() as session:
        return session.get_one(Experiment, home.experiment_id).published_version or ""
