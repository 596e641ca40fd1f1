"""Statuses and their allowed changes, as tables: whatever is not here is refused."""

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


class Side(StrEnum):
    """Where a patient's cases go, once for ever in a lineage."""

    TRAIN = "train"
    EVALUATE = "evaluate"


TERMINAL = frozenset({JobStatus.DONE, JobStatus.ERROR, JobStatus.CANCELED})
OPEN = frozenset(JobStatus) - TERMINAL
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
    JobStatus.PAUSING: frozenset({JobStatus.PAUSED, JobStatus.CANCELING}),
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

SLOT_CHANGES: dict[SlotState, frozenset[SlotState]] = {
    SlotState.WANTED: frozenset({SlotState.STARTING, SlotState.STOPPED}),
    SlotState.STARTING: frozenset({SlotState.READY, SlotState.LOST, SlotState.DRAINING, SlotState.STOPPED}),
    SlotState.READY: frozenset({SlotState.SWAPPING, SlotState.DRAINING, SlotState.LOST, SlotState.STOPPED}),
    SlotState.SWAPPING: frozenset({SlotState.READY, SlotState.DRAINING, SlotState.LOST, SlotState.STOPPED}),
    SlotState.DRAINING: frozenset({SlotState.STOPPED, SlotState.LOST}),
    SlotState.LOST: frozenset({SlotState.STARTING, SlotState.STOPPED}),
    SlotState.STOPPED: frozenset(),
}


def may_change(before: JobStatus, after: JobStatus) -> bool:
    """Say whether a job may go from one status to the other."""
    return after in JOB_CHANGES[before]
