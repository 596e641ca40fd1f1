"""Who runs a loop, and when something was last done; it only saves work, every pass is safe to run twice.

A lease that ends later than one would that began now, by far, was made before the clock was set back: it is over.
"""

from sqlalchemy import or_
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables.base import new_id, now
from infra.adapters.catalog.tables.edge import LoopLease
from infra.adapters.catalog.upsert import insert


def hold(session: Session, name: str, holder: str, lease_s: float) -> bool:
    """Take or renew the lease of the loop *name* for *lease_s* seconds; false while another process has it."""
    until = now() + lease_s
    taking = insert(session, LoopLease).values(name=name, holder=holder, until=until)
    taking = taking.on_conflict_do_update(
        index_elements=[LoopLease.name],
        set_={"holder": holder, "until": until},
        where=or_(LoopLease.holder == holder, LoopLease.until < now(), LoopLease.until > now() + 2 * lease_s),
    )
    return session.scalar(taking.returning(LoopLease.name)) is not None


def let_go(session: Session, name: str, holder: str) -> None:
    """Give the lease back, so that another process need not wait for its end."""
    mine = session.get(LoopLease, name)
    if mine is not None and mine.holder == holder:
        session.delete(mine)


def is_time(session: Session, name: str, every_s: float) -> bool:
    """Say whether *name* was not done for *every_s* seconds, in any process, and count it as done now."""
    return hold(session, name, new_id(), every_s)
