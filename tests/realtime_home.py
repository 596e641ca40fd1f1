"""A home with the sample bundle, a folder of images, and an experiment whose versions each answer one label only."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.networks.nets import UNet
from safetensors.torch import save_file
from sqlalchemy import select

from configs.settings import Settings
from infra.adapters.catalog.tables import Bundle, Dataset, Experiment, Image, ModelVersion, Organisation, Slot
from infra.wiring import Parts, open_parts
from tasks.images.sync import sync_dataset
from tasks.publishing.publish import publish_by_person
from tasks.serving.slots import switch_off, want

SAMPLE = Path(__file__).resolve().parents[1] / "bundles" / "sample"
LABELS = {"1": "grey matter", "2": "white matter", "3": "cerebellar grey matter"}
SHAPE = (20, 24, 16)
AFFINE_RAS = np.array([[0, -2.5, 0, 12], [3.5, 0, 0, -30], [0, 0, 3, 7], [0, 0, 0, 1.0]])
BUNDLE, OTHER_BUNDLE = "5" * 64, "6" * 64
CERTAIN = 1e3
"""Bias that decides every voxel, whatever the random network says."""


@dataclass(frozen=True)
class Realtime:
    """An experiment that can be served."""

    parts: Parts
    org: str
    dataset_id: str
    images: dict[str, int]
    experiment_id: str

    def want(self, replica: int = 0) -> str:
        """Want a slot; returns its id."""
        with self.parts.catalog.write() as session:
            experiment = session.get_one(Experiment, self.experiment_id)
            return want(session, experiment, 0, replica=replica).id

    def switch_off(self, slot_id: str) -> None:
        """Want it no longer."""
        with self.parts.catalog.write() as session:
            switch_off(session, session.get_one(Slot, slot_id), "the test ends")

    def slot(self, slot_id: str) -> Slot:
        """Read its row."""
        with self.parts.catalog.read() as session:
            return session.get_one(Slot, slot_id)

    def publish(self, label: int, bundle_id: str = BUNDLE) -> str:
        """Publish a version that answers *label* everywhere; returns its id."""
        weights = self.parts.blobs.put_file(certain_weights(self.parts.settings.home / f"label-{label}", label))
        return self.publish_weights(weights, bundle_id)

    def publish_weights(self, weights: str, bundle_id: str = BUNDLE) -> str:
        """Publish a version with this blob; returns its id."""
        with self.parts.catalog.write() as session:
            experiment = session.get_one(Experiment, self.experiment_id)
            number = experiment.published_seq
            version = ModelVersion(experiment_id=experiment.id, number=number, bundle_id=bundle_id, weights=weights)
            session.add(version)
            session.flush()
            publish_by_person(
                session,
                experiment.id,
                version.id,
                expected=experiment.published_version,
                actor="test",
                reason="test",
            )
            return version.id


def open_realtime(home: Path, folder: Path, *, catalog_url: str = "") -> Realtime:
    """Make an experiment with four images, published with a version that answers label 1 everywhere."""
    parts = open_parts(Settings(home=home, catalog_url=catalog_url, slot_lease_s=4, slot_heartbeat_s=0.25))
    parts.catalog.migrate()
    rng = np.random.default_rng(0)
    for name in ("ada", "ben", "cy", "di"):
        voxels = rng.normal(100, 20, SHAPE).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE_RAS), folder / f"{name}.nii.gz")
    made = _made(parts, folder)
    made.publish(1)
    return made


def certain_weights(path: Path, label: int) -> Path:
    """Write the sample network with a bias by which *label* wins everywhere."""
    torch.manual_seed(label)
    definition = json.loads((SAMPLE / "configs" / "inference.json").read_text())["network_def"]
    assert definition.pop("_target_") == "UNet"
    network = UNet(**definition)
    state = network.state_dict()
    last = [name for name, tensor in state.items() if name.endswith("bias") and tensor.shape == (4,)][-1]
    state[last] = torch.zeros(4)
    state[last][label] = CERTAIN
    save_file(state, path)
    return path


def _made(parts: Parts, folder: Path) -> Realtime:
    with parts.catalog.write() as session:
        session.add(Organisation(id="clinic"))
        session.flush()
        dataset = Dataset(org="clinic", name="heads", spec={"kind": "folder", "url": os.fspath(folder)})
        for bundle_id in (BUNDLE, OTHER_BUNDLE):
            shutil.copytree(SAMPLE, parts.settings.home / "bundles" / bundle_id)
            session.add(Bundle(id=bundle_id, name="sample", version="0.1.0", tier="A", labels=LABELS, check={}))
        session.add(dataset)
        session.flush()
        experiment = Experiment(
            org="clinic", name="tissue", arch="sample", bundle_id=BUNDLE, labels=LABELS, lineage="l", realtime=True
        )
        session.add(experiment)
        session.flush()
    sync_dataset(parts, dataset.id)
    with parts.catalog.read() as session:
        images = {image.key: image.id for image in session.scalars(select(Image))}
    return Realtime(parts, "clinic", dataset.id, images, experiment.id)
