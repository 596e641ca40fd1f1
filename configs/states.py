"""Statuses, and which may follow which: a job's `status` in the catalog takes no other way than this table's.

A realtime slot's state has no such table: whoever holds the slot, by holder and epoch, is the only one who writes it.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    """A job's status, in the words of the MONAI Cloud dialect."""

    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    ERROR = "Error"
    CANCELING = "Canceling"
    CANCELED = "Canceled"
    PAUSING = "Pausing"
    PAUSED = "Paused"
    RESUMING = "Resuming"


class AttemptState(StrEnum):
    """One numbered try at a job."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    ENDED = "ended"
    LOST = "lost"


class SlotState(StrEnum):
    """One realtime slot."""

    WANTED = "wanted"
    STARTING = "starting"
    READY = "ready"
    SWAPPING = "swapping"
    DRAINING = "draining"
    STOPPED = "stopped"
    LOST = "lost"


class LabelState(StrEnum):
    """One version of a label."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REMOVED = "removed"
    QUARANTINED = "quarantined"
    SENT_BACK = "sent_back"
    PENDING_UPLOAD = "pending_upload"
    DERIVED = "derived"
    PREDICTION = "prediction"


# A patient's side is a promise: who once trained never evaluates, whatever is drawn later.
class Side(StrEnum):
    """Where a patient's cases go, once for ever in a lineage."""

    TRAIN = "train"
    EVALUATE = "evaluate"


# Final for everybody: people, flows and the reconciler may all come late.
TERMINAL = frozenset({JobStatus.DONE, JobStatus.ERROR, JobStatus.CANCELED})
# A job of these has its experiment's turn to train.
TRAINING = frozenset({JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELING})

JOB_CHANGES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset(
        {
            JobStatus.RUNNING,
            JobStatus.ERROR,
            JobStatus.CANCELING,
            JobStatus.CANCELED,
            JobStatus.PAUSING,
            JobStatus.PAUSED,
        }
    ),
    JobStatus.RUNNING: frozenset(
        {
            JobStatus.DONE,
            JobStatus.ERROR,
            JobStatus.CANCELING,
            JobStatus.CANCELED,
            JobStatus.PAUSING,
            JobStatus.PAUSED,
        }
    ),
    JobStatus.CANCELING: frozenset({JobStatus.CANCELED}),
    # Canceled at once where nobody works on it any more: its attempt was lost while it paused.
    JobStatus.PAUSING: frozenset({JobStatus.PAUSED, JobStatus.CANCELING, JobStatus.CANCELED}),
    # A paused loop's last round may end it, well or not.
    JobStatus.PAUSED: frozenset(
        {
            JobStatus.RESUMING,
            JobStatus.RUNNING,
            JobStatus.CANCELING,
            JobStatus.CANCELED,
            JobStatus.DONE,
            JobStatus.ERROR,
        }
    ),
    JobStatus.RESUMING: frozenset(
        {JobStatus.RUNNING, JobStatus.ERROR, JobStatus.CANCELING, JobStatus.CANCELED, JobStatus.PAUSED}
    ),
    JobStatus.DONE: frozenset(),
    JobStatus.ERROR: frozenset(),
    JobStatus.CANCELED: frozenset(),
}


def may_change(before: JobStatus, after: JobStatus) -> bool:
    """Say whether a job may go from one status to the other; it may keep the one it has."""
    return after == before or after in JOB_CHANGES[before]
