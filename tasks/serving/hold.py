"""A slot process's hold of its slot: every step names the holder and the epoch, so that a late one writes nothing."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from configs.errors import SupersededError, UpstreamError
from configs.states import SlotState
from infra.adapters.catalog import slots
from infra.adapters.catalog.slots import Beat, Published, SlotClaimant
from infra.adapters.catalog.slots import Hold as Held
from infra.wiring import Parts

_T = TypeVar("_T")


class Hold:
    """A claimed slot. Safe to use from several threads.

    Every method raises UpstreamError if the catalog cannot be reached, and all but `renew` raise SupersededError if
    the slot is another process's by now.

    Args:
        parts: This process's.
        held: What was claimed.
    """

    def __init__(self, parts: Parts, held: Held) -> None:
        self._parts = parts
        self._held = held

    @property
    def slot_id(self) -> str:
        """The slot."""
        return self._held.slot_id

    @property
    def epoch(self) -> int:
        """Which claim of the slot this is."""
        return self._held.epoch

    def renew(self) -> Beat | None:
        """Prolong the lease; None if the slot is another process's by now."""
        lease_s = self._parts.settings.slot_lease_s
        return in_unit(self._parts, lambda session: slots.renew(session, self._held, lease_s))

    def published(self) -> Published | None:
        """Return what is to be served; None if there is no model yet."""
        return in_unit(self._parts, lambda session: slots.published(session, self._held.slot_id), write=False)

    def become_ready(self, endpoint: str, seq: int) -> None:
        """Say where the slot answers, and with which publication."""
        self._step(lambda session: slots.become_ready(session, self._held, endpoint=endpoint, seq=seq))

    def become(self, state: SlotState) -> None:
        """Say that the slot swaps or drains."""
        self._step(lambda session: slots.become(session, self._held, state))

    def swapped(self, seq: int) -> None:
        """Say that this publication is served from now on."""
        self._step(lambda session: slots.swapped(session, self._held, seq))

    def swap_failed(self, reason: str, failed_seq: int | None) -> None:
        """Say why the old version goes on; with the publication once it will not be tried again."""
        self._step(lambda session: slots.swap_failed(session, self._held, reason, failed_seq=failed_seq))

    def release(self, *, error: str | None = None, failed_seq: int | None = None) -> None:
        """Let go: stopped if the slot is no longer wanted, else lost."""
        self._step(lambda session: slots.release(session, self._held, error=error, failed_seq=failed_seq))

    def _step(self, step: Callable[[Session], bool]) -> None:
        if not in_unit(self._parts, step):
            raise SupersededError("Another process holds this realtime slot by now: stop, and write nothing more")


def claim(parts: Parts, slot_id: str, claimant: SlotClaimant) -> Hold | None:
    """Take the slot for its lease; None if it is not wanted or somebody serves it.

    Raises:
        UpstreamError: If the catalog cannot be reached.
    """
    lease_s = parts.settings.slot_lease_s
    held = in_unit(parts, lambda session: slots.claim(session, slot_id, claimant, lease_s))
    return None if held is None else Hold(parts, held)


def in_unit(parts: Parts, question: Callable[[Session], _T], *, write: bool = True) -> _T:
    """Ask the catalog, or change it, in one transaction.

    Raises:
        UpstreamError: If the catalog cannot be reached.
    """
    try:
        with parts.catalog.write() if write else parts.catalog.read() as session:
            return question(session)
    except SQLAlchemyError as error:
        raise UpstreamError(f"The catalog cannot be reached now ({type(error).__name__})") from None
