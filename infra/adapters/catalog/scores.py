"""Case scores that were measured before."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import CaseScore
from infra.adapters.catalog.upsert import insert

# Databases bound how many values a statement may have.
_AT_ONCE = 500


def known(session: Session, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the scores that there are of these keys."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), _AT_ONCE):
        chosen = select(CaseScore).where(CaseScore.key.in_(keys[start : start + _AT_ONCE]))
        found.update({row.key: row.score for row in session.scalars(chosen)})
    return found


def keep(session: Session, scores: Mapping[str, dict[str, Any]]) -> None:
    """Keep scores; one that somebody else has measured meanwhile stays as it is."""
    if not scores:
        return
    rows = [{"key": key, "score": score} for key, score in sorted(scores.items())]
    session.execute(insert(session, CaseScore).on_conflict_do_nothing(), rows)
