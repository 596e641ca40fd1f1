"""Weights that somebody brings: a challenger as any other, served only if the gate says so."""

from typing import BinaryIO

from sqlalchemy.orm import Session

from infra.adapters.catalog import audit
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Dataset, ModelVersion
from infra.services.callers import Caller, Right, allow
from infra.services.learning import by_dataset
from infra.services.learning.models import Published
from infra.wiring import Parts
from tasks.bundles.admit import admit
from tasks.reconcile.loop import wake
from tasks.rounds.jobs.upload import start_uploaded


def upload(parts: Parts, caller: Caller, dataset: Dataset, model: str, sent: BinaryIO) -> Published:
    """Keep weights as a model version and have them judged by a job; what is served stays until the gate publishes.

    Args:
        parts: The adapters.
        caller: Who asks.
        dataset: Whose experiment.
        model: Its name; it has to train on the data set, by whose labels the weights are judged.
        sent: Safetensors, or a state dictionary that `torch.save` wrote.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If no experiment of this name trains on the data set.
        InvalidRequestError: If the weights cannot be read, or are not of the experiment's network, or not finite.
        HostError: If the network of its bundle cannot be built.
    """
    allow(caller, Right.UPLOAD_MODELS)
    experiment = by_dataset.trainer(parts, caller, dataset, model).experiment
    labels = {int(index): name for index, name in experiment.labels.items()}
    weights = admit(parts, experiment.bundle_id, labels, sent)

    def kept(session: Session) -> ModelVersion:
        """Make the version and its job, on the record."""
        row = catalog.get(session, caller.org, experiment.id)
        version = start_uploaded(session, row, weights, actor=caller.subject)
        audit.record(session, caller.org, caller.subject, "model.upload", version.id, experiment=row.id)
        return version

    version = parts.catalog.unit(kept)
    wake()
    return Published(version, weights, parts.blobs.path(weights))
