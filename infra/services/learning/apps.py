"""Apps: their models, listed as base experiments."""

from collections.abc import Mapping, Sequence

from infra.adapters.catalog import audit
from infra.services.callers import Caller, Right, allow
from infra.services.learning import bases
from infra.services.learning.bundles import Added
from infra.wiring import Parts
from tasks.bundles.apps import register_app


def add(parts: Parts, caller: Caller, source: str, conf: Mapping[str, str]) -> Sequence[Added]:
    """Register an app's models and list them; registering them again is no work.

    Args:
        parts: The adapters.
        caller: Who asks.
        source: An absolute path on the server's machine.
        conf: What `--conf` says.

    Raises:
        BundleError: If the app's code or a model does not work here; the message says why.
        ForbiddenError: If the caller may not.
        InvalidRequestError: If there is no app, or it does not take what *conf* says.
    """
    allow(caller, Right.MANAGE_BUNDLES)
    added = [
        Added(bundle, bases.listed(parts, bundle)) for bundle in register_app(parts, source, conf, by=caller.subject)
    ]
    with parts.catalog.write() as session:
        for each in added:
            audit.record(session, caller.org, caller.subject, "app.add", each.bundle.id)
    return added
