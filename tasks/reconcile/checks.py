"""The checks of a reconcile pass: each finds one kind of fault by one question, mends it, and says how often it did.

Passes are safe to run twice at once: whatever a check writes, it asks again in the unit that writes it.
"""

from collections.abc import Callable
from typing import NamedTuple

from infra.wiring import Parts
from tasks.devices.hold import free_dead
from tasks.reconcile import attempts, clock, files, followers, records, rounds, slots, stores, sweep, watch

Check = Callable[[Parts], int]


class Named(NamedTuple):
    """A check, and whether it reads leases, which say nothing just after this machine slept."""

    name: str
    check: Check
    by_lease: bool = False


def checks() -> list[Named]:
    """Return the checks whose faults are to be mended within seconds, in the order in which they run."""
    return [
        Named("times: clock was set back", clock.set_back),
        Named("jobs: what they waited for has ended", followers.let_go),
        Named("attempts: never started", attempts.unstarted),
        Named("attempts: flow run ended", attempts.ended_runs),
        Named("attempts: lease over", attempts.leases_over, by_lease=True),
        Named("jobs: asked to end", attempts.asked_to_end, by_lease=True),
        Named("runs: attempt over", attempts.stale_runs),
        Named("rounds: due", rounds.rounds_due),
        Named("rounds: recounted", rounds.recount),
        Named("tracking: behind", rounds.metrics_behind),
        Named("slots: lease over", slots.slots_lost, by_lease=True),
        Named("slots: not watched", slots.slots_unwatched, by_lease=True),
        Named("slots: not wanted", slots.slots_off, by_lease=True),
        Named("slots: not used", slots.slots_idle, by_lease=True),
        Named("devices: claims over", free_dead, by_lease=True),
        Named("publications: failed everywhere", slots.publications_failed),
        Named("rows: over", sweep.leases_removed, by_lease=True),
        Named("outbox: Prefect is back", sweep.Outage().check),
    ]


def upkeep() -> list[Named]:
    """Return the checks that may take their time, and so have a loop of their own."""
    return [
        Named("data sets: degraded", stores.Probes().check),
        Named("files: not named", files.files_swept),
        Named("tracking: aliases", records.aliases_moved),
        Named("outbox: MLflow is back", records.Back().check),
    ]


def watching() -> list[Named]:
    """Return what looks for news in image stores, in a loop of its own: listing one takes seconds."""
    return [Named("data sets: news", watch.Watches().check)]
