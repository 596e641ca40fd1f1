"""Who may call what: every route's first role, in one table. A service asks for its own right besides.

A route is named by the function that answers it, as in the access log; both scopes of the MONAI Cloud dialect share
their functions. Where a body chooses what is done (`create_job`), the table has the least of its roles.

A job's own log is for engineers: that is who runs jobs, and the log is of their bundle's training. The logs of the
system's processes are for admins.
"""

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from configs.errors import ForbiddenError, UnauthorizedError
from infra.doors.api.monai_label.scope import ANNOTATOR_KEY
from infra.services import people
from infra.services.callers import Caller, Role
from infra.wiring import Parts

ANYBODY = None
# Whose keys may stand in an address: such a key is seen by whoever sees the address.
ADDRESSED = frozenset({Role.ANNOTATOR, Role.REVIEWER})
SESSION_COOKIE = "teachback_session"
_PACKAGE = "infra.doors.api."
_ORDER = tuple(Role)

ROLES: dict[str, Role | None] = {
    "health.health": ANYBODY,
    "health.liveness": ANYBODY,
    "health.readiness": ANYBODY,
    "pages.docs": ANYBODY,
    "pages.start": ANYBODY,
    "monai_cloud.start.versions": ANYBODY,
    "monai_cloud.start.topics": ANYBODY,
    "monai_cloud.start.organisations": Role.ANNOTATOR,
    "monai_cloud.start.organisation": Role.ANNOTATOR,
    "monai_cloud.start.installed": ANYBODY,
    "monai_cloud.start.description": ANYBODY,
    "monai_cloud.start.page": ANYBODY,
    "monai_cloud.login.login": ANYBODY,
    "monai_cloud.login.auth": Role.ANNOTATOR,
    "monai_cloud.workspaces.create_workspace": Role.ENGINEER,
    "monai_cloud.workspaces.list_workspaces": Role.ANNOTATOR,
    "monai_cloud.workspaces.get_workspace": Role.ANNOTATOR,
    "monai_cloud.workspaces.list_workspace_datasets": Role.ANNOTATOR,
    "monai_cloud.workspaces.change_workspace": Role.ENGINEER,
    "monai_cloud.workspaces.delete_workspace": Role.ENGINEER,
    "monai_cloud.datasets.create_dataset": Role.ENGINEER,
    "monai_cloud.datasets.list_datasets": Role.ANNOTATOR,
    "monai_cloud.datasets.get_dataset": Role.ANNOTATOR,
    "monai_cloud.datasets.change_dataset": Role.ENGINEER,
    "monai_cloud.datasets.delete_dataset": Role.ENGINEER,
    "monai_cloud.dataset_jobs.create_dataset_job": Role.ANNOTATOR,
    "monai_cloud.dataset_jobs.list_dataset_jobs": Role.ANNOTATOR,
    "monai_cloud.dataset_jobs.refuse_job": Role.ANNOTATOR,
    "monai_cloud.experiments.create_experiment": Role.ENGINEER,
    "monai_cloud.experiments.list_experiments": Role.ANNOTATOR,
    "monai_cloud.experiments.list_base_experiments": Role.ANNOTATOR,
    "monai_cloud.experiments.list_tags": Role.ANNOTATOR,
    "monai_cloud.experiments.get_experiment": Role.ANNOTATOR,
    "monai_cloud.experiments.change_experiment": Role.ENGINEER,
    "monai_cloud.experiments.delete_experiment": Role.ENGINEER,
    "monai_cloud.experiments.cancel_all_jobs": Role.ENGINEER,
    "monai_cloud.jobs.create_job": Role.ANNOTATOR,  # inference; annotation and train are for engineers
    "monai_cloud.jobs.list_jobs": Role.ANNOTATOR,
    "monai_cloud.jobs.get_job": Role.ANNOTATOR,
    "monai_cloud.jobs.get_job_logs": Role.ENGINEER,
    "monai_cloud.jobs.cancel_job": Role.ENGINEER,
    "monai_cloud.jobs.pause_job": Role.ENGINEER,
    "monai_cloud.jobs.resume_job": Role.ENGINEER,
    "monai_cloud.jobs.delete_job": Role.ENGINEER,
    "monai_cloud.results.list_files": Role.ENGINEER,
    "monai_cloud.results.download": Role.ENGINEER,
    "monai_cloud.results.download_selective_files": Role.ENGINEER,
    "monai_cloud.specs.get_formats": Role.ANNOTATOR,
    "monai_cloud.specs.get_dataset_schema": Role.ANNOTATOR,
    "monai_cloud.specs.get_experiment_schema": Role.ANNOTATOR,
    "monai_label.info.info": Role.ANNOTATOR,
    "monai_label.infer.infer": Role.ANNOTATOR,
    "monai_label.wsi.infer_wsi": Role.ANNOTATOR,
    "monai_label.wsi.infer_wsi_form": Role.ANNOTATOR,
    "monai_label.samples.next_sample": Role.ANNOTATOR,
    "monai_label.datastore_list.get_datastore": Role.ANNOTATOR,
    "monai_label.datastore.save_label": Role.ANNOTATOR,
    "monai_label.datastore.get_label": Role.ANNOTATOR,
    "monai_label.datastore.delete_label": Role.ANNOTATOR,  # somebody else's: engineers
    "monai_label.datastore.has_label": Role.ANNOTATOR,
    "monai_label.images.get_image": Role.ANNOTATOR,
    "monai_label.images.has_image": Role.ANNOTATOR,
    "monai_label.images.get_image_info": Role.ANNOTATOR,
    "monai_label.images.put_image_info": Role.ANNOTATOR,  # to clear is for engineers
    "monai_label.label_info.get_label_info": Role.ANNOTATOR,
    "monai_label.label_info.put_label_info": Role.ANNOTATOR,  # somebody else's: reviewers
    "monai_label.label_info.update_label_info": Role.REVIEWER,
    "monai_label.datastore_list.get_dataset": Role.ANNOTATOR,
    "monai_label.images.put_image": Role.ANNOTATOR,
    "monai_label.images.delete_image": Role.ENGINEER,
    "monai_label.batch.get_batch": Role.ANNOTATOR,
    "monai_label.batch.start_batch": Role.ENGINEER,
    "monai_label.batch.stop_batch": Role.ENGINEER,
    "monai_label.scoring.get_scoring": Role.ANNOTATOR,
    "monai_label.scoring.start_scoring": Role.ENGINEER,
    "monai_label.scoring.start_scorings": Role.ENGINEER,
    "monai_label.scoring.stop_scoring": Role.ENGINEER,
    "monai_label.models.get_model": Role.ENGINEER,
    "monai_label.models.get_model_info": Role.ENGINEER,
    "monai_label.models.delete_model": Role.ENGINEER,
    "monai_label.models.upload_model": Role.ADMIN,
    "monai_label.proxy.get_dicom": Role.ANNOTATOR,
    "monai_label.proxy.post_dicom": Role.ANNOTATOR,
    "monai_label.server.logs": Role.ADMIN,
    "monai_label.server.gpu_log": Role.ADMIN,
    "monai_label.server.viewer": ANYBODY,
    "monai_label.sessions.create_session": Role.ANNOTATOR,
    "monai_label.sessions.get_session": Role.ANNOTATOR,
    "monai_label.sessions.delete_session": Role.ANNOTATOR,
    "monai_label.auth.enabled": ANYBODY,
    "monai_label.auth.token": ANYBODY,
    "monai_label.auth.valid": Role.ANNOTATOR,
    "monai_label.info.start": ANYBODY,
    "monai_label.train.get_training": Role.ANNOTATOR,
    "monai_label.train.start_training": Role.ENGINEER,
    "monai_label.train.start_trainings": Role.ENGINEER,
    "monai_label.train.stop_training": Role.ENGINEER,
    "native.status.status": Role.ANNOTATOR,
    "native.status.idle": Role.ADMIN,
    "native.rounds.list_rounds": Role.ANNOTATOR,
    "native.rounds.rerun_round": Role.ENGINEER,
    "native.rounds.compare_rerun": Role.ANNOTATOR,
    "native.models.list_models": Role.ANNOTATOR,
    "native.models.publish": Role.ENGINEER,
    "native.models.decline": Role.ENGINEER,
    "native.models.rollback": Role.ENGINEER,
    "native.apps.register_app": Role.ADMIN,
    "native.bundles.list_bundles": Role.ANNOTATOR,
    "native.bundles.get_bundle": Role.ANNOTATOR,
    "native.bundles.register_bundle": Role.ADMIN,
    "native.bundles.check_bundle": Role.ADMIN,
    "native.bundles.remove_bundle": Role.ADMIN,
    "native.keys.list_keys": Role.ADMIN,
    "native.keys.create_key": Role.ADMIN,
    "native.keys.revoke_key": Role.ADMIN,
    "native.datasets.list_datasets": Role.ANNOTATOR,
    "native.datasets.get_dataset": Role.ANNOTATOR,
    "native.datasets.sync": Role.ANNOTATOR,
    "native.datasets.get_manifest": Role.ENGINEER,
    "native.carriage.import_label": Role.ENGINEER,
    "native.carriage.export": Role.ENGINEER,
    "native.carriage.get_label_as": Role.ANNOTATOR,
    "native.carriage.get_label_as_coco": Role.ANNOTATOR,
    "native.hooks.list_hooks": Role.ADMIN,
    "native.hooks.create_hook": Role.ADMIN,
    "native.hooks.rotate_hook": Role.ADMIN,
    "native.hooks.revoke_hook": Role.ADMIN,
    "monitoring.metrics": Role.ADMIN,
    "monitoring.list_logs": Role.ADMIN,
    "monitoring.get_log": Role.ADMIN,
    "hooks.receive": ANYBODY,  # the message's signature is the key
    "browser.login.page": ANYBODY,
    "browser.login.style": ANYBODY,
    "browser.login.log_in": ANYBODY,
    "browser.login.log_out": ANYBODY,
    "browser.prefect.start": ANYBODY,
    "browser.prefect.ui_settings": Role.ENGINEER,
    "browser.prefect.settings": Role.ENGINEER,
    "browser.prefect.api": Role.ENGINEER,
    "browser.prefect.page": Role.ENGINEER,
    "browser.mlflow.start": ANYBODY,
    "browser.mlflow.run_of_job": Role.ENGINEER,
    "browser.mlflow.page": Role.ENGINEER,
    "browser.jobs.page": Role.ENGINEER,
    "browser.jobs.train_now": Role.ENGINEER,
    "native.labels.list_labels": Role.ANNOTATOR,
    "native.labels.get_agreement": Role.REVIEWER,
    "native.labels.get_label": Role.ANNOTATOR,
    "native.labels.get_file": Role.ANNOTATOR,
    "native.labels.approve": Role.REVIEWER,
    "native.labels.send_back": Role.REVIEWER,
    "native.labels.release": Role.ENGINEER,
    "native.labels.delete": Role.ANNOTATOR,  # somebody else's: engineers
    "native.labels.purge": Role.ADMIN,
    "native.images.list_skipped": Role.ANNOTATOR,
    "native.images.skip": Role.ANNOTATOR,
    "native.images.clear": Role.ENGINEER,
    "native.scores.list_scores": Role.ANNOTATOR,
    "native.tracking.rebuild": Role.ENGINEER,
}
# What is served beside the functions: files of Swagger UI, and the description of the routes.
OPEN_PATHS = frozenset({"/docs/static", "/openapi.json"})

_bearer = HTTPBearer(auto_error=False, description="A token from POST /api/v1/login, or an API key.")
Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def name_of(endpoint: Callable[..., Any]) -> str:
    """Return a route's name in the table, such as `monai_cloud.jobs.get_job`."""
    return f"{endpoint.__module__.removeprefix(_PACKAGE)}.{endpoint.__name__}"


def admit(request: Request, shown: Shown = None) -> Caller | None:
    """Let a request go on to its route, and return who calls: None where that is anybody.

    Asked once a request, in a thread; a route that the table lacks is for admins.

    Raises:
        UnauthorizedError: If no valid token or key was shown, and the route is not for anybody.
        ForbiddenError: If the caller's role may not.
    """
    first = ROLES.get(name_of(request.scope["endpoint"]), Role.ADMIN)
    if first is ANYBODY:
        return None
    address = str(request.path_params.get(ANNOTATOR_KEY, ""))
    secret = address or (shown.credentials if shown else _basic(request) or _cookie(request))
    parts: Parts = request.app.state.parts
    if not (secret or parts.settings.open_here):
        raise UnauthorizedError("No token or key was shown: send Authorization: Bearer <token or API key>")
    caller = people.identify(parts, secret) if secret else people.somebody_here()
    if address and caller.role not in ADDRESSED:
        raise ForbiddenError(f"An address carries a key of an annotator or reviewer, not of the role {caller.role!s}")
    if _ORDER.index(caller.role) < _ORDER.index(first):
        able = ", ".join(_ORDER[_ORDER.index(first) :])
        raise ForbiddenError(f"A key with the role {caller.role!s} may not do this: use one with the role {able}")
    return caller


def _basic(request: Request) -> str:
    """Return a key that is shown as a password, as clients of NVIDIA's registry do where they ask who they are."""
    if name_of(request.scope["endpoint"]) != "monai_cloud.login.auth":
        return ""
    kind, _, shown = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, key = base64.b64decode(shown, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return key if (kind.lower(), user) == ("basic", "$oauthtoken") else ""


def _cookie(request: Request) -> str:
    """Return what the login page's cookie holds: the browser's pages know a person by it, too; our API takes none."""
    in_browser = name_of(request.scope["endpoint"]).startswith("browser.")
    return str(request.cookies.get(SESSION_COOKIE, "")) if in_browser else ""
