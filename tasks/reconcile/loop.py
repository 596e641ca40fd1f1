"""The loops that carry out what units decided and mend what was left behind; every API process runs them."""

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from configs.errors import TeachbackError
from infra.adapters.catalog import loops
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.delivery.dispatch import FLOWS, HOOKS, LABELS, LISTINGS, RECORDS, RESULTS, deliver_due
from tasks.reconcile.checks import Named, checks, upkeep, watching

log = logging.getLogger(__name__)

# For entries of other processes, which cannot wake this one.
IDLE_S = 0.25
RECORDS_IDLE_S = 1.0
_LANES = (
    ("tracking", RECORDS),
    ("webhooks", HOOKS),
    ("labels", LABELS),
    ("results", RESULTS),
    ("listings", LISTINGS),
)
LEASE, UPKEEP, WATCH = "reconciler", "upkeep", "watch"
# Several passes: one that takes its time keeps the lease, and a dead process is followed soon.
LEASE_S = 15.0
# More than a clock is set by in small steps.
SLEPT_S = 5.0

_awake = threading.Event()


def wake() -> None:
    """Have the outbox looked at now: call it after a unit that asked for something outside."""
    _awake.set()


def run(parts: Parts, stop: threading.Event) -> None:
    """Deliver and reconcile until *stop* is set.

    Delivery needs no lease, for entries are claimed one by one; of several processes, one reconciles.
    """
    lanes = [
        threading.Thread(target=_deliver_flows, args=(parts, stop), name="deliver-flows", daemon=True),
        *(
            threading.Thread(target=_deliver, args=(parts, stop, name, kinds), name=f"deliver-{name}", daemon=True)
            for name, kinds in _LANES
        ),
        *(
            threading.Thread(target=_keep_up, args=(parts, stop, name), name=name, daemon=True)
            for name in (UPKEEP, WATCH)
        ),
    ]
    for lane in lanes:
        lane.start()
    reconciler = Reconciler(parts)
    while not stop.is_set():
        reconciler.step()
        stop.wait(parts.settings.reconcile_s)
    wake()
    for lane in lanes:
        lane.join()
    reconciler.close()


class Reconciler:
    """Runs the checks, one pass a step; `mended` counts what each has mended in this process.

    Args:
        parts: The adapters.
        named: What is to be run; None = what has to be mended within seconds.
        lease: Of several processes, the one that holds the lease of this name works.
    """

    def __init__(self, parts: Parts, named: Sequence[Named] | None = None, lease: str = LEASE) -> None:
        self._parts = parts
        self._holder = new_id()
        self._lease = lease
        self._checks = checks() if named is None else named
        self._clocks = _Clocks(max(parts.settings.attempt_lease_s, parts.settings.slot_lease_s))
        self.mended: Counter[str] = Counter()

    def step(self) -> bool:
        """Run every check once, if this process holds the lease; a check that fails keeps no other from running."""
        # Asked in every pass, also where another process holds the lease: a sleep in between must not be missed.
        trusted = self._clocks.leases_count()
        if not _at_edge("lease", self._hold):
            return False
        for each in self._checks:
            if trusted or not each.by_lease:
                self.mended[each.name] += _at_edge(each.name, partial(self._run, each))
        return True

    def close(self) -> None:
        """Let another process reconcile at once."""
        _at_edge("lease", self._let_go)

    def _hold(self) -> int:
        with self._parts.catalog.write() as session:
            return loops.hold(session, self._lease, self._holder, LEASE_S + self._parts.settings.reconcile_s)

    def _let_go(self) -> int:
        with self._parts.catalog.write() as session:
            loops.let_go(session, self._lease, self._holder)
        return 0

    def _run(self, each: Named) -> int:
        found = each.check(self._parts)
        if found:
            log.info("reconcile: %s (%d)", each.name, found)
        return found


class _Clocks:
    """Tells when this machine slept: its own clock stood still while the wall's went on, and all leases ran out."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._apart = time.time() - time.monotonic()
        self._trust_at = time.monotonic()

    def leases_count(self) -> bool:
        """Say whether a lease that ran out means anything; after a sleep its holder first gets time to renew it."""
        apart = time.time() - time.monotonic()
        if abs(apart - self._apart) > SLEPT_S:
            self._trust_at = time.monotonic() + self._grace_s
        self._apart = apart
        return time.monotonic() >= self._trust_at


def _deliver_flows(parts: Parts, stop: threading.Event) -> None:
    """Deliver as soon as somebody wakes us: a person waits for a round to start, or to end."""
    while not stop.is_set():
        _at_edge("delivery", lambda: deliver_due(parts, FLOWS))
        _awake.wait(IDLE_S)
        _awake.clear()


def _deliver(parts: Parts, stop: threading.Event, name: str, kinds: Collection[OutboxKind]) -> None:
    while not stop.is_set():
        _at_edge(name, partial(deliver_due, parts, kinds))
        stop.wait(RECORDS_IDLE_S)


def _keep_up(parts: Parts, stop: threading.Event, name: str) -> None:
    """Do what takes its time: a store that does not answer must not hold up what mends the rest."""
    named, every_s = (watching(), parts.settings.watch_s) if name == WATCH else (upkeep(), parts.settings.reconcile_s)
    keeper = Reconciler(parts, named, name)
    while not stop.is_set():
        keeper.step()
        stop.wait(every_s)
    keeper.close()


def _at_edge(name: str, act: Callable[[], int]) -> int:
    """Do something, and survive it: these loops are what mends everything else."""
    try:
        return act()
    except TeachbackError as error:
        log.warning("reconcile: %s: %s", name, error)
    except SQLAlchemyError as error:
        log.warning("reconcile: %s: the catalog did not answer: %s", name, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - process edge: a fault in one check must not end the others
        # The text of a foreign exception may name what no log may; where it was raised may be said.
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"unexpected {type(error).__name__} at {place.filename}:{place.lineno}"
        log.error("reconcile: %s: %s", name, what)  # noqa: TRY400 - the traceback would end with that text
    return 0
