"""What a bundle host is told of a training: files, and how to train. No address, no secret, no row."""

import pytest

from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from infra.adapters.catalog.tables import Experiment
from tasks.rounds.jobs.start import start_train
from tests.rounds_in_memory import Ward


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: nothing here is different on PostgreSQL."""
    return sqlite_url


def test_a_bundle_host_is_given_no_address(ward: Ward) -> None:
    ward.label("t1", "t2")
    asked = TrainSpec(epochs=3, tracking_uri="https://mlflow.example/x", experiment_name="ours")
    with ward.parts.catalog.write() as session:
        experiment = session.get_one(Experiment, ward.experiment)
        job = start_train(session, experiment, RoundSpec(train=asked), actor="ann").id

    ward.run(ward.claim(job))

    [request] = ward.hosts.trained
    told = request.model_dump_json()
    assert request.spec == TrainSpec(epochs=3)
    assert "://" not in told
    for row in (ward.dataset, ward.experiment):
        assert row not in told
