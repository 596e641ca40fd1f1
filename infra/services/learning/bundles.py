"""Bundles: registered, shown, examined, removed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, ForbiddenError, InvalidRequestError
from infra.adapters.catalog import audit
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Bundle
from infra.adapters.catalog.tables.base import now
from infra.services.callers import Caller, Right, allow, may
from infra.services.learning import bases
from infra.wiring import Parts
from tasks.bundles.catalog import look_at, register
from tasks.bundles.source import shown


@dataclass(frozen=True)
class Added:
    """A registered bundle and the base experiment under which it is listed."""

    bundle: Bundle
    base_experiment: str


def listed(parts: Parts, caller: Caller) -> Sequence[Bundle]:
    """Return the registered bundles."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.bundles(session)


def get(parts: Parts, caller: Caller, name: str) -> Bundle:
    """Return a bundle by its name, its id, or the beginning of that.

    Raises:
        NotFoundError: If there is none.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.find_bundle(session, name)


def add(parts: Parts, caller: Caller, source: str) -> Added:
    """Register a bundle and list it; registering it again is no work.

    Args:
        parts: The adapters.
        caller: Who asks.
        source: An absolute path on the server's machine, or an address.

    Raises:
        BundleError: If it does not work here; the message says why.
        ForbiddenError: If the caller may not, or not from there.
        InvalidRequestError: If there is no bundle.
    """
    allow(caller, Right.MANAGE_BUNDLES)
    bundle = register(parts, source, by=caller.subject)
    base = bases.listed(parts, bundle)
    with parts.catalog.write() as session:
        audit.record(session, caller.org, caller.subject, "bundle.add", bundle.id)
    return Added(bundle, base)


def check(parts: Parts, caller: Caller, source: str) -> Bundle:
    """Return what registering a bundle would note, and keep nothing of it; raises as `add`."""
    allow(caller, Right.MANAGE_BUNDLES)
    return look_at(parts, source)


def at_address(parts: Parts, caller: Caller, address: str) -> Bundle:
    """Return the bundle that was registered from an address; for an admin it is registered if there is none.

    Raises:
        BundleError: If it does not work here.
        ForbiddenError: If it is not registered and the caller may not register it.
        InvalidRequestError: If there is no bundle.
    """
    allow(caller, Right.MANAGE_EXPERIMENTS)
    with parts.catalog.read() as session:
        # What differs in its query alone may be something else, and the query is not kept.
        known = catalog.bundle_from(session, address) if shown(address) == address else None
    if known is not None:
        return known
    if not may(caller, Right.MANAGE_BUNDLES):
        raise ForbiddenError(
            "No bundle was registered from this bundle_url, and bundles are code: an admin registers it, with"
            " `teachback bundles add`"
        )
    return register(parts, address, by=caller.subject)


def remove(parts: Parts, caller: Caller, name: str) -> Bundle:
    """Take a bundle off the lists; what its rounds were trained with stays on the server.

    Raises:
        ConflictError: If an experiment uses it.
        InvalidRequestError: If it comes with the project.
        NotFoundError: If there is none.
    """
    allow(caller, Right.MANAGE_BUNDLES)

    def removed(session: Session) -> Bundle:
        bundle = catalog.find_bundle(session, name)
        if bundle.registered_by == bases.SYSTEM:
            raise InvalidRequestError(f"Bundle {bundle.name} comes with the project: take its folder out of bundles/")
        _refuse_used(session, caller.org, bundle)
        for base in catalog.bases_of(session, bundle.id):
            base.deleted_at = session.scalar(select(now()))
        bundle.removed_at = session.scalar(select(now()))
        audit.record(session, caller.org, caller.subject, "bundle.remove", bundle.id)
        return bundle

    return parts.catalog.unit(removed)


def _refuse_used(session: Session, org: str, bundle: Bundle) -> None:
    users = catalog.users_of(session, bundle.id)
    if not users:
        return
    own = [user.name for user in users if user.org == org]
    others = f"{len(users) - len(own)} of other organisations" if len(users) > len(own) else ""
    named = ", ".join(filter(None, [*own, others]))
    raise ConflictError(f"Bundle {bundle.name} is used by experiments: {named}. Delete them first")
