"""Base experiments: one per registered bundle, for everybody, read-only."""

import logging
from pathlib import Path

from sqlalchemy.orm import Session

from configs.errors import TeachbackError
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.tables import Bundle, Experiment
from infra.adapters.catalog.tables.base import new_id
from infra.services.learning.archs import arch_of
from infra.services.learning.experiment_requests import ShownExperiment
from infra.wiring import Parts
from tasks.bundles.catalog import register
from tasks.bundles.heads import kind_of
from tasks.bundles.waiting import is_waiting

METADATA = Path("configs/metadata.json")
SYSTEM = "system"
_log = logging.getLogger(__name__)


def register_shipped(parts: Parts) -> list[str]:
    """Register every bundle that comes with the project and list it; return the base experiments' ids.

    A bundle that does not work here is left out and said in the log: it must not keep the others from serving.
    """
    folders = sorted(path.parent.parent for path in parts.settings.bundles_dir.glob(f"*/{METADATA}"))
    found = []
    for folder in folders:
        try:
            found.append(listed(parts, register(parts, str(folder), by=SYSTEM)))
        except TeachbackError:
            _log.exception("the bundle %s could not be registered", folder.name)
    return found


def listed(parts: Parts, bundle: Bundle) -> str:
    """Show a bundle as a base experiment for everybody; return that one's id."""
    with parts.catalog.write() as session:
        one_by_one(session, f"base/{bundle.name}/{bundle.version}")
        base = catalog.base_of(session, bundle.name, bundle.version) or _new(session, bundle)
        # What comes without weights does not take the place of the same with its weights fetched.
        if not is_waiting(bundle) or is_waiting(catalog.bundle(session, base.bundle_id)):
            base.bundle_id, base.labels, base.description = bundle.id, dict(bundle.labels), bundle.description
            base.learns = kind_of(bundle)
        return base.id


def of_one(session: Session, org: str, bundle: Bundle, *, name: str, arch: str) -> Experiment:
    """Make the base of one experiment that names its bundle by address: in the organisation alone, and in no list."""
    base = _new(session, bundle)
    base.org, base.name, base.arch, base.labels = org, f"base_experiment_{name}", arch, dict(bundle.labels)
    session.flush()
    return base


def _new(session: Session, bundle: Bundle) -> Experiment:
    base = Experiment(
        id=new_id(),
        org=None,
        base=True,
        name=bundle.name,
        arch=arch_of(bundle),
        bundle_id=bundle.id,
        learns=kind_of(bundle),
        labels={},
        shown=ShownExperiment(version=bundle.version).model_dump(mode="json"),
        created_by=SYSTEM,
    )
    base.lineage = base.id
    session.add(base)
    return base
