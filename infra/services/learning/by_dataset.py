"""The experiments of a data set, by name: what the MONAI Label dialect calls its models and trainers."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Bundle, Dataset, Experiment
from infra.services.callers import Caller, Right, allow
from infra.services.learning.archs import actions_of
from infra.wiring import Parts


@dataclass(frozen=True)
class Model:
    """An experiment and its bundle."""

    experiment: Experiment
    bundle: Bundle


def models(parts: Parts, caller: Caller, dataset: Dataset) -> Mapping[str, Model]:
    """Return the experiments that use a data set, by name; of several of a name, the newest."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        used = catalog.using(session, caller.org, dataset.id)
        return {row.name: Model(row, catalog.bundle(session, row.bundle_id)) for row in used}


def trainers(parts: Parts, caller: Caller, dataset: Dataset) -> Mapping[str, Model]:
    """Return those that learn from the data set, and whose bundle can, by name; of several of a name, the newest."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        used = catalog.using(session, caller.org, dataset.id, "train")
        learning = [Model(row, catalog.bundle(session, row.bundle_id)) for row in used]
    return {model.experiment.name: model for model in learning if "train" in actions_of(model.bundle)}


def model(parts: Parts, caller: Caller, dataset: Dataset, name: str) -> Model:
    """Return the data set's model of this name.

    Raises:
        NotFoundError: If it has none; a near name is suggested.
    """
    return _named("model", name, models(parts, caller, dataset))


def trainer(parts: Parts, caller: Caller, dataset: Dataset, name: str) -> Model:
    """Return the model of this name that learns from the data set; raises as `model`."""
    return _named("trainer", name, trainers(parts, caller, dataset))


def newest(parts: Parts, caller: Caller, dataset: Dataset) -> Model:
    """Return the newest of the data set's experiments that has a model.

    Raises:
        InvalidRequestError: If none has.
    """
    found = [each for each in models(parts, caller, dataset).values() if each.experiment.published_version]
    if not found:
        raise InvalidRequestError(f"No experiment of {dataset.name} has a model yet: label images until one has")
    return max(found, key=lambda each: each.experiment.created_at)


def _named(kind: str, name: str, known: Mapping[str, Model]) -> Model:
    # The original's client writes a blank of a path as it would in a query: as a plus.
    found = known.get(name) or known.get(unquote_plus(name))
    if found is None:
        raise NotFoundError(kind, name, known)
    return found
