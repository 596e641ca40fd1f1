"""Apps: their models become bundles, registered as any other."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.errors import HostDiedError, InvalidRequestError
from configs.wire.apps import AppModels, AppRequest
from configs.wire.host import Failed
from infra.adapters.catalog.tables import Bundle
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.archives import readable_archive
from tasks.bundles.catalog import register_folder, trusted
from tasks.bundles.source import shown
from tasks.bundles.unpack import refuse_link, write_all
from tasks.devices.asking import work_folder


def register_app(parts: Parts, source: str, conf: Mapping[str, str], *, by: str) -> Sequence[Bundle]:
    """Have a bundle host write an app's models as bundles, and register each. What is known already is no work.

    Args:
        parts: The adapters.
        source: The app's folder on this machine, by its absolute path.
        conf: What `--conf` says.
        by: Who registers it.

    Raises:
        BundleError: If the app's code fails, or a model does not run.
        ForbiddenError: If there is no cage to keep its code in.
        InvalidRequestError: If there is no app, or it does not take what *conf* says.
    """
    with trusted(parts, source) as folder, work_folder(parts, "app") as work:
        if not folder.is_dir():
            raise InvalidRequestError(f"An app is a folder, and {folder.name!r} is none: unpack it first")
        app = work / "app"
        app.mkdir()
        with readable_archive(repr(folder.name)):
            write_all(folder, app)
        request = AppRequest(app=str(app), name=_called(folder), conf=dict(conf), out=str(work / "out"))
        models = _written(parts, request, work / "host")
        for name in models:
            refuse_link(work / "out" / name, name)  # the app's code wrote there
        return [register_folder(parts, work / "out" / name, source=shown(source), by=by) for name in models]


def _called(folder: Path) -> str:
    """Return what an app is called: its folder's name, as one word."""
    return re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")[:40] or "app"


def _written(parts: Parts, request: AppRequest, work: Path) -> Sequence[str]:
    """Return the models that a bundle host has written."""
    with parts.hosts.start(request, work=work, bundle=Path(request.app)) as host:
        for message in host.messages():
            if isinstance(message, Failed):
                raise error_of(message)
            if isinstance(message, AppModels):
                models = message.models
                break
        else:
            raise HostDiedError("The app's host ended without a result; its log.txt says more")
    return models
