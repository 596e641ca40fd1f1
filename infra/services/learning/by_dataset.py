"""The experiments of a data set, by name: what the MONAI Label dialect calls its models and trainers."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from configs.errors import NotFoundError
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Bundle, Dataset, Experiment
from infra.services.callers import Caller, Right, allow
from infra.services.learning.archs import actions_of
from infra.wiring import Parts


@dataclass(frozen=True)
class Model:
    """An experiment and its bundle. `trains`: whether it learns from this data set."""

    experiment: Experiment
    bundle: Bundle
    trains: bool


def models(parts: Parts, caller: Caller, dataset: Dataset) -> Mapping[str, Model]:
    """Return the experiments that use a data set, by name; of several of a name, the newest."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        training = {row.id for row in catalog.using(session, caller.org, dataset.id, "train")}
        return {
            row.name: _model(row, catalog.bundle(session, row.bundle_id), training)
            for row in catalog.using(session, caller.org, dataset.id)
        }


def trainers(parts: Parts, caller: Caller, dataset: Dataset) -> Mapping[str, Model]:
    """Return those that learn from the data set."""
    return {name: model for name, model in models(parts, caller, dataset).items() if model.trains}


def model(parts: Parts, caller: Caller, dataset: Dataset, name: str) -> Model:
    """Return the data set's model of this name.

    Raises:
        NotFoundError: If it has none; a near name is suggested.
    """
    return _named("model", name, models(parts, caller, dataset))


def trainer(parts: Parts, caller: Caller, dataset: Dataset, name: str) -> Model:
    """Return the model of this name that learns from the data set; raises as `model`."""
    return _named("trainer", name, trainers(parts, caller, dataset))


def _named(kind: str, name: str, known: Mapping[str, Model]) -> Model:
    # The original's client writes a blank of a path as it would in a query: as a plus.
    found = known.get(name) or known.get(unquote_plus(name))
    if found is None:
        raise NotFoundError(kind, name, known)
    return found


def _model(row: Experiment, bundle: Bundle, training: set[str]) -> Model:
    return Model(row, bundle, row.id in training and "train" in actions_of(bundle))
