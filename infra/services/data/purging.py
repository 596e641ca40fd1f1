"""Removing for good what was deleted long ago."""

from infra.adapters.catalog import audit
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.labels.purge import Purged
from tasks.labels.purge import purge as remove_for_good


def purge(parts: Parts, caller: Caller, *, days: float, confirm: bool) -> Purged:
    """Remove for good what the organisation deleted longer than *days* ago; without *confirm* only count it.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.PURGE)
    done = remove_for_good(parts, caller.org, days * 86400.0, confirm=confirm)
    if confirm:
        with parts.catalog.write() as session:
            audit.record(
                session, caller.org, caller.subject, "purge", caller.org, days=days, **done.model_dump(mode="json")
            )
    return done
