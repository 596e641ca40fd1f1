"""Who did what, when: written in the unit of the change itself."""

from typing import Any

from sqlalchemy.orm import Session

from infra.adapters.catalog.tables.edge import Audit


def record(session: Session, org: str | None, actor: str, action: str, ref: str, **detail: Any) -> None:
    """Add an audit row to this unit.

    Args:
        session: The unit that makes the change.
        org: The organisation it happened in; None = the installation itself.
        actor: Who: a key's id, `system`, or a process's name.
        action: What, as `noun.verb`, such as `dataset.create`.
        ref: The catalog id of what was changed.
        detail: Numbers, names of fields and catalog ids. No secret, no patient, no address.
    """
    session.add(Audit(org=org or "", actor=actor, action=action, ref=ref, detail=detail))
