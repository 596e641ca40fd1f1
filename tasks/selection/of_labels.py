"""Score labels that exist: how far the published model's answer is from each, or how much it names."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.specs.score import ScoringMethod
from configs.wire.host import ImageScore, ScoreRequest
from infra.adapters.catalog.tables import Candidate, Dataset, Experiment, Image, Label, ModelVersion
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import insert
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.devices.asking import answers, work_folder
from tasks.devices.needs import batch_need
from tasks.labels.choosing.learnt import learnable
from tasks.publishing.usable import is_usable
from tasks.rounds.jobs.turns import round_waits
from tasks.rounds.steps.gather import row_of
from tasks.rounds.steps.work import Words, cases_of
from tasks.selection.scores import Scored

SHARE = 64
_NEEDS_NO_MODEL = "sum"


def score_labels(parts: Parts, experiment_id: str, dataset_id: str, method: ScoringMethod) -> Scored:
    """Score the labels that rounds learn from, as far as the published version has not; return how many were.

    Each score is kept as it comes, so after a kill the next call goes on; it ends early when a round waits. What cannot
    be read, or is no label map, gets none, and a label that is replaced loses its own.

    Raises:
        HostError: If the bundle fails.
        StoreError: If an image cannot be read.
    """
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, experiment_id)
        version = session.get(ModelVersion, experiment.published_version or "")
        if version is None or (method != _NEEDS_NO_MODEL and not is_usable(session, experiment)):
            return Scored()
        labels = {int(index): name for index, name in experiment.labels.items()}
        waiting = _unscored(session, version, dataset_id, labels, method)
    scored, gave_way, bundle = 0, False, bundle_folder(parts, version.bundle_id)
    for start in range(0, len(waiting), SHARE):
        with parts.catalog.read() as session:
            gave_way = round_waits(session)
        if gave_way:
            break
        with parts.cache.pin() as pin, work_folder(parts, "score-labels") as work:
            rows = [row_of(parts, label, image) for label, image in waiting[start : start + SHARE]]
            cases = cases_of(parts, Words(labels=labels, folder=work / "labels"), rows, pin)
            if not cases:
                continue
            request = ScoreRequest(
                bundle=str(bundle),
                images=cases,
                labels=labels,
                weights=str(parts.blobs.path(version.weights)) if version.weights else None,
                method=method,
            )
            need = batch_need(parts, version.bundle_id, version.weights)
            for message in answers(parts, request, need, work=work, bundle=bundle):
                if isinstance(message, ImageScore) and message.score is not None:
                    with parts.catalog.write() as session:
                        _keep(session, version, int(message.image), method, message.score)
                    scored += 1
    return Scored(scored, gave_way)


def _unscored(
    session: Session, version: ModelVersion, dataset_id: str, labels: dict[int, str], method: ScoringMethod
) -> list[tuple[Label, Image]]:
    """Return label maps that have no score of this version that is newer than they are."""
    to_seq = session.get_one(Dataset, dataset_id).label_seq
    mine = (
        Candidate.experiment_id == version.experiment_id,
        Candidate.dataset_id == dataset_id,
        Candidate.method == method,
        Candidate.version_id == version.id,
    )
    known = dict(session.execute(select(Candidate.image_id, Candidate.at).where(*mine)).tuples().all())
    found = learnable(session, dataset_id, to_seq, labels)
    return [(label, image) for label, image in found if label.blob and known.get(image.id, 0.0) < label.created_at]


def _keep(session: Session, version: ModelVersion, image_id: int, method: ScoringMethod, score: float) -> None:
    image = session.get_one(Image, image_id)
    values = {"dataset_id": image.dataset_id, "score": score, "by": "", "version_id": version.id, "at": now()}
    row = insert(session, Candidate).values(
        experiment_id=version.experiment_id, image_id=image_id, method=method, **values
    )
    key = [Candidate.experiment_id, Candidate.image_id, Candidate.method]
    session.execute(row.on_conflict_do_update(index_elements=key, set_=values))
