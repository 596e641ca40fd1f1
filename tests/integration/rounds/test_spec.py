"""What a training may start from, and be told."""

import pytest
from sqlalchemy import select, update

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.annotation import AnnotationSpec
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from infra.adapters.catalog.tables import Bundle, Experiment, Job, VaultValue
from infra.services.callers import Caller, Role
from infra.services.learning.jobs import Asked, train
from infra.wiring import Parts
from tasks.rounds.jobs.start import start_annotation, start_train
from tests.builders import ORG, World, add_version, build, job

UNKNOWN = "6f0f4f3e-0c55-4b0e-9d8e-4f1d1f3b7c11"


@pytest.fixture
def world(parts: Parts) -> World:
    """Images and an experiment."""
    return build(parts.catalog)


def _train(parts: Parts, world: World, **spec: object) -> str:
    with parts.catalog.write() as session:
        asked = RoundSpec(train=TrainSpec.model_validate(spec))
        return start_train(session, session.get_one(Experiment, world.experiment), asked, actor="ann").id


def test_a_training_starts_from_a_version_of_its_experiment_and_of_no_other(parts: Parts, world: World) -> None:
    other = build(parts.catalog)
    mine, theirs = (add_version(parts.catalog, each, 1) for each in (world, other))

    assert job(parts.catalog, _train(parts, world, start_from=mine)).spec["train"]["start_from"] == mine
    with pytest.raises(InvalidRequestError, match="not of this experiment's lineage"):
        _train(parts, world, start_from=theirs)
    with pytest.raises(NotFoundError, match=UNKNOWN):
        _train(parts, world, start_from=UNKNOWN)


def test_a_loop_is_refused_an_override_that_would_do_nothing_before_it_starts(parts: Parts, world: World) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": ["optimizer", "optimizer#lr", "loss#*"]}))

    def start(**overrides: object) -> None:
        spec = AnnotationSpec(round_size=1, train_spec=TrainSpec(overrides=overrides))
        with parts.catalog.write() as session:
            start_annotation(session, session.get_one(Experiment, world.experiment), spec, actor="ann")

    with pytest.raises(InvalidRequestError, match="has no 'train#optimizer#lr'; near ones are optimizer#lr"):
        start(**{"train#optimizer#lr": 0.1})
    start(**{"optimizer::lr": 0.1, "loss#anything": 1})


def test_a_training_names_configurations_that_its_bundle_has_and_ids_of_theirs(parts: Parts, world: World) -> None:
    files = {"configs/train.json": ["epochs"], "configs/long.json": ["extra"], "configs/inference.json": []}
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": ["epochs"], "config_files": files}))
    both = ("configs/train.json", "configs/long.json")

    made = _train(parts, world, config_file=both, overrides={"extra": 1})

    assert job(parts.catalog, made).spec["train"]["config_file"] == [*both]
    with pytest.raises(InvalidRequestError, match="has no 'extra'"):
        _train(parts, world, overrides={"extra": 1})
    with pytest.raises(
        InvalidRequestError, match=r"no configuration 'configs/lnog\.json': name some of configs/inference"
    ):
        _train(parts, world, config_file=["configs/lnog.json"])


@pytest.mark.parametrize(
    "value", [{"a#access_token": "t0ken"}, {"a#source": "https://ann:t0ken@nas/x"}, {"a": [{"password": "t0ken"}]}]
)
def test_a_secret_for_a_bundle_is_refused_at_the_door_and_kept_nowhere(
    parts: Parts, world: World, value: dict[str, object]
) -> None:
    engineer = Caller(org=ORG, subject="ann", name="ann", role=Role.ENGINEER)
    spec = RoundSpec(train=TrainSpec(overrides=value))

    with pytest.raises(InvalidRequestError, match=r"'a.*is a secret .* a bundle is given none") as refused:
        train(parts, engineer, world.experiment, spec, Asked(specs={"train_spec": value}))

    assert "t0ken" not in str(refused.value)
    with parts.catalog.read() as session:
        assert [*session.scalars(select(Job)), *session.scalars(select(VaultValue))] == []
