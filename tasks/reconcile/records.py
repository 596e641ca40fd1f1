"""What MLflow shows that the catalog does not say, and what waits for an MLflow that is back."""

from sqlalchemy import exists, select

from configs.errors import TrackingError
from infra.adapters.catalog import loops, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Experiment, ModelVersion
from infra.wiring import Parts
from tasks.delivery.tracking import aliases, group_name

# They follow the catalog at once through the outbox; this mends what somebody changed in MLflow.
ALIASES_EVERY_S = 60.0


def aliases_moved(parts: Parts) -> int:
    """Once a minute, have aliases rewritten that name another version in MLflow than in the catalog."""
    if not parts.settings.tracking_url:
        return 0
    with parts.catalog.write() as session:
        waits = outbox.waiting(session, OutboxKind.TRACKING)  # MLflow is away, or will be told anyway
        if waits or not loops.is_time(session, "aliases", ALIASES_EVERY_S):
            return 0
        trained = exists().where(ModelVersion.experiment_id == Experiment.id, ModelVersion.job_id.is_not(None))
        found = session.scalars(select(Experiment).where(Experiment.deleted_at.is_(None), trained)).all()
        wanted = {experiment.id: (group_name(experiment), aliases(session, experiment)) for experiment in found}
    moved = 0
    try:
        for experiment_id, (group, named) in wanted.items():
            versions = {alias: version.id if version else None for alias, version in named.items()}
            if versions != {alias: parts.tracking.aliased(group, alias) for alias in versions}:
                moved += _rewrite(parts, experiment_id)
    except TrackingError:
        return moved  # the next entry that waits says so
    return moved


def _rewrite(parts: Parts, experiment_id: str) -> bool:
    with parts.catalog.write() as session:
        if outbox.undelivered(session, OutboxKind.TRACKING, experiment_id):
            return False
        outbox.enqueue(session, OutboxKind.TRACKING, experiment_id)
        return True


class Back:
    """Notices that MLflow answers again, so that what waited for it need not wait out its back-off."""

    def __init__(self) -> None:
        self._answered = False

    def check(self, parts: Parts) -> int:
        """Make what waits for MLflow due now, once, when it answers after it did not."""
        if not parts.settings.tracking_url:
            return 0
        with parts.catalog.read() as session:
            if not outbox.waiting(session, OutboxKind.TRACKING):
                return 0
        answered_before, self._answered = self._answered, parts.tracking.healthy()
        if answered_before or not self._answered:
            return 0
        with parts.catalog.write() as session:
            outbox.hasten(session, [OutboxKind.TRACKING])
        return 1
