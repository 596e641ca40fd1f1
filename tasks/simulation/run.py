"""A simulation from what the catalog has: which labels are replayed, and who is held out."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.specs.simulation import SimulationSpec
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Label, ModelVersion
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.labels.choosing.learnt import learnable
from tasks.rounds.records.snapshot import SnapshotRow
from tasks.rounds.steps.gather import row_of
from tasks.rounds.steps.work import Words, cases_of
from tasks.simulation.bench import Bench
from tasks.simulation.curves import Simulated, usual_target
from tasks.simulation.replay import Pool, Replay, Say

HELD_OUT = 5
"""Every fifth patient is held out, two at the least."""
# Two that are labelled first, and at least one each to learn from and to be judged by.
FEWEST = 4


def simulate(
    parts: Parts,
    experiment_id: str,
    dataset_id: str,
    spec: SimulationSpec,
    *,
    folder: Path,
    target: float | None,
    say: Say,
) -> Simulated:
    """Replay the labels of a data set as an experiment would have learnt them, strategy by strategy.

    Nothing is written to the catalog. What was found is kept in the folder: the same simulation, asked for again, goes
    on where it was.

    Args:
        parts: The adapters.
        experiment_id: Whose bundle, label names and first weights are used.
        dataset_id: Whose labels.
        spec: What is simulated.
        folder: Gets what was found.
        target: The metric's value that "labels to target" is about; None = 95 % of the best end.
        say: Told after each training.

    Raises:
        InvalidRequestError: If there are too few labelled patients.
        HostError: If the bundle fails.
        StoreError: If an image cannot be read.
    """
    with parts.catalog.read() as session:
        experiment, dataset = session.get_one(Experiment, experiment_id), session.get_one(Dataset, dataset_id)
        words = Words(
            learns=experiment.learns,
            labels={int(index): name for index, name in experiment.labels.items()},
            folder=folder / "labels",
        )
        start = _first_weights(session, experiment)
        labelled = learnable(session, dataset_id, dataset.label_seq, words.labels, words.learns)
    rows, held_out = _split(parts, labelled)
    bench = Bench(
        parts,
        experiment.bundle_id,
        bundle_folder(parts, experiment.bundle_id),
        words.labels,
        str(parts.blobs.path(start)) if start else None,
        spec.train,
    )
    made_of = sha256(repr([(row.image_fingerprint, row.label_sha256) for row in [*rows, *held_out]]).encode())
    with parts.cache.pin() as pin:
        pool = Pool(
            cases_of(parts, words, rows, pin), cases_of(parts, words, held_out, pin), made_of=made_of.hexdigest()
        )
        replay = Replay(bench, pool, spec, folder, say)
        curves = replay.curves()
    return Simulated(
        dataset=dataset.name,
        experiment=experiment.name,
        metric=replay.metric,
        pool=len(pool.cases),
        held_out=len(pool.held_out),
        target=target if target is not None else usual_target(curves),
        curves=curves,
    )


def _first_weights(session: Session, experiment: Experiment) -> str | None:
    """Return the blob that the experiment began with; None = the bundle's own weights."""
    first = (ModelVersion.experiment_id == experiment.id, ModelVersion.number == 0)
    return session.scalar(select(ModelVersion.weights).where(*first))


def _split(parts: Parts, labelled: Sequence[tuple[Label, Image]]) -> tuple[list[SnapshotRow], list[SnapshotRow]]:
    """Return the rows to replay, by id, and those to measure on: the same patients whatever is simulated.

    Patients' keys are keyed hashes, so their order is nobody's choice. A model's output that nobody edited measures
    nothing.
    """
    usable = [(label, image) for label, image in labelled if label.blob is not None and not label.unedited]
    patients = sorted({image.patient_key for _, image in usable})
    held_out = set(patients[: max(2, len(patients) // HELD_OUT)])
    if len(patients) < FEWEST:
        raise InvalidRequestError(
            f"{len(patients)} patients have labels that this experiment learns from; a simulation needs {FEWEST} at"
            " least, two of them to measure on: label more, or name another data set or experiment"
        )
    rows = [
        (row_of(parts, label, image), image.patient_key in held_out)
        for label, image in sorted(usable, key=lambda found: found[1].key)
    ]
    return [row for row, is_out in rows if not is_out], [row for row, is_out in rows if is_out]
