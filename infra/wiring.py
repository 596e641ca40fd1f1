"""Joins the adapters, once per process.

What is dear to open (Prefect's client, MLflow's, the probe of the cage) is opened when it is first used: the realtime
slot and the command line need none of it.
"""

import os
import stat
import time
from functools import cached_property

from configs.errors import ConflictError
from configs.settings import Settings
from infra.adapters.artifacts.base import Artifacts
from infra.adapters.artifacts.blobs import Blobs
from infra.adapters.cache.disk import DiskCache
from infra.adapters.catalog.session import Catalog
from infra.adapters.compute import warm
from infra.adapters.compute.base import BundleHosts
from infra.adapters.compute.process import ProcessHosts
from infra.adapters.images.objects.place import Endpoints
from infra.adapters.images.objects.stores import ObjectStores
from infra.adapters.orchestration.base import Orchestrator
from infra.adapters.security.egress import EgressPolicy
from infra.adapters.security.redact import Redactor, guard_all
from infra.adapters.security.vault import Vault
from infra.adapters.slots.client import SlotClient
from infra.adapters.tracking.base import Tracking

_OWNER_ALONE = 0o700
_WAKE_EVERY_S = 60.0
RESTORING = "restoring"
"""The file in a home that says which backup is being put into it."""


class Parts:
    """The adapters of one process, opened from its settings.

    Args:
        settings: What differs between machines.
        orchestrator: Used instead of Prefect, by tests of what is not about Prefect.
        hosts: Used instead of processes, by tests of what is not about bundles.
    """

    def __init__(
        self, settings: Settings, *, orchestrator: Orchestrator | None = None, hosts: BundleHosts | None = None
    ) -> None:
        self.settings = settings
        self.catalog = Catalog(settings.catalog_url)
        self.blobs: Artifacts = Blobs(settings.artifacts_dir)
        self.cache = DiskCache(settings.cache_dir, settings.cache_bytes)
        self.redactor = Redactor()
        self.vault = Vault(settings.key_path, redactor=self.redactor)
        self.egress = EgressPolicy(settings.egress_allow, loopback=settings.single_machine)
        endpoints = Endpoints(s3=settings.s3_endpoint.rstrip("/"), gcs=settings.gcs_endpoint.rstrip("/"))
        self.objects = ObjectStores(self.egress, endpoints)
        self.slots = SlotClient()
        self._orchestrator, self._hosts = orchestrator, hosts
        self._wake_again = 0.0

    @cached_property
    def orchestrator(self) -> Orchestrator:
        """Prefect."""
        if self._orchestrator is not None:
            return self._orchestrator
        from infra.adapters.orchestration.prefect import PrefectOrchestrator  # noqa: PLC0415 - takes a second to import

        return PrefectOrchestrator(self.settings.prefect_api_url, self.settings.prefect_auth)

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow."""
        from infra.adapters.tracking.mlflow import MlflowTracking  # noqa: PLC0415 - takes a second to import

        return MlflowTracking(self.settings.tracking_url)

    def tracking_at(self, uri: str) -> Tracking:
        """Return somebody else's MLflow, called where the egress policy allows, without credentials of ours."""
        from infra.adapters.tracking.mlflow import MlflowTracking  # noqa: PLC0415 - as above

        return MlflowTracking(uri, self.egress.session())

    @cached_property
    def hosts(self) -> BundleHosts:
        """What starts bundle hosts, in the strongest cage that works here."""
        settings = self.settings
        return self._hosts or ProcessHosts(
            silence_s=settings.host_silence_s,
            memory_mib=settings.host_memory_mib,
            keep_free_mib=settings.host_keep_free_mib,
            warm=settings.warm_socket,
        )

    def expect_hosts(self) -> None:
        """Have bundle hosts ready to be forked on this machine: somebody has begun to work, and will need them."""
        # Each call of many annotators would queue at a process that is busy with its imports, before who wants a host.
        if self.settings.warm_socket is not None and time.monotonic() >= self._wake_again:
            self._wake_again = time.monotonic() + _WAKE_EVERY_S
            warm.wake(self.settings.warm_socket)

    def close(self) -> None:
        """Return connections, and wait until what was cached is on the disk."""
        self.cache.settle()
        self.catalog.close()
        self.slots.close()


def open_parts(settings: Settings, *, restoring: bool = False) -> Parts:
    """Join the adapters that these settings name; the home folder is made, for its owner alone.

    Args:
        settings: What differs between machines.
        restoring: Whether a backup is being put into this home.

    Raises:
        ConflictError: If a restore into this home did not end.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = settings.home.stat()
    if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) != _OWNER_ALONE:
        settings.home.chmod(_OWNER_ALONE)  # made by somebody else's mkdir, or a volume
    if not restoring and (settings.home / RESTORING).exists():
        raise ConflictError("A restore into this home did not end: run the same `teachback restore` again")
    opened = Parts(settings)
    guard_all(opened.redactor)
    return opened
