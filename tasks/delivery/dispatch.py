"""Delivers the outbox: one handler per kind. A handler may run twice and must not mind."""

import logging
from collections.abc import Callable, Collection, Sequence

from configs.errors import TeachbackError
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import Entry, OutboxKind
from infra.wiring import Parts
from tasks.delivery.elsewhere import DELAYS_S as DELAYS_ELSEWHERE_S
from tasks.delivery.elsewhere import track_elsewhere
from tasks.delivery.flows import cancel_flow, start_flow, start_scoring
from tasks.delivery.tracking import track
from tasks.delivery.webhooks import DELAYS_S as DELAYS_OF_WEBHOOKS_S
from tasks.delivery.webhooks import deliver, take_in_arrival
from tasks.labels.incoming.catch_up import go_on
from tasks.labels.incoming.upload import store_label
from tasks.results.deliver import write_results

log = logging.getLogger(__name__)

Handler = Callable[[Parts, Entry], None]


HANDLERS: dict[OutboxKind, Handler] = {
    OutboxKind.START_FLOW: start_flow,
    OutboxKind.CANCEL_FLOW: cancel_flow,
    OutboxKind.SCORES: start_scoring,
    OutboxKind.TRACKING: track,
    OutboxKind.TRACKING_ELSEWHERE: track_elsewhere,
    OutboxKind.STORE_LABEL: store_label,
    OutboxKind.RESULTS: write_results,
    OutboxKind.LISTING: go_on,
    OutboxKind.WEBHOOK: deliver,
    OutboxKind.ARRIVAL: take_in_arrival,
}
# A lane each: an MLflow, or an image store, that is slow to say that it is down holds up no round.
FLOWS = frozenset({OutboxKind.START_FLOW, OutboxKind.CANCEL_FLOW, OutboxKind.SCORES})
RECORDS = frozenset({OutboxKind.TRACKING})
LABELS = frozenset({OutboxKind.STORE_LABEL})
RESULTS = frozenset({OutboxKind.RESULTS})
LISTINGS = frozenset({OutboxKind.LISTING})
# And one for webhooks, and for what is told to other people's MLflow: nobody waits for a receiver that is slow.
HOOKS = frozenset({OutboxKind.WEBHOOK, OutboxKind.ARRIVAL, OutboxKind.TRACKING_ELSEWHERE})
# Seconds before each further try, of kinds that are given up one day; all others are tried for ever.
DELAYS_S: dict[OutboxKind, Sequence[float]] = {
    OutboxKind.WEBHOOK: DELAYS_OF_WEBHOOKS_S,
    OutboxKind.TRACKING_ELSEWHERE: DELAYS_ELSEWHERE_S,
}


def deliver_due(parts: Parts, kinds: Collection[OutboxKind] = tuple(HANDLERS)) -> int:
    """Deliver every due entry of these kinds, one after the other; return how many worked.

    One that fails is due again later; the rest goes on.
    """
    delivered = 0
    while True:
        with parts.catalog.read() as session:
            if not outbox.due(session, kinds):
                return delivered
        with parts.catalog.write() as session:
            entries = outbox.claim(session, kinds)
        for entry in entries:
            delivered += _deliver(parts, entry)


def _deliver(parts: Parts, entry: Entry) -> bool:
    try:
        HANDLERS[entry.kind](parts, entry)
    except TeachbackError as error:
        _put_back(parts, entry, str(error))
        return False
    except Exception as error:  # noqa: BLE001 - process edge: one bad entry must not keep the others waiting
        # The text of a foreign exception may name what no log may; its type is enough to find it.
        _put_back(parts, entry, f"unexpected {type(error).__name__}")
        return False
    with parts.catalog.write() as session:
        outbox.done(session, entry)
    return True


def _put_back(parts: Parts, entry: Entry, error: str) -> None:
    log.warning("%s for %s did not work, try %d: %s", entry.kind, entry.ref, entry.tries, error)
    delays = DELAYS_S.get(entry.kind)
    with parts.catalog.write() as session:
        if delays is None:
            outbox.failed(session, entry, error)
        elif entry.tries <= len(delays):
            outbox.failed(session, entry, error, delay_s=delays[entry.tries - 1])
        else:
            outbox.given_up(session, entry, error)
