"""Find out what a bundle is, in the one kind of process that may read its code."""

from pathlib import Path

from configs.errors import HostDiedError
from configs.wire.check import CheckRequest, CheckResult
from configs.wire.host import Failed
from infra.adapters.compute.base import BundleHosts
from infra.adapters.compute.failures import error_of


def examine(hosts: BundleHosts, folder: Path, work: Path) -> CheckResult:
    """Return what a bundle host finds in an unpacked bundle: tier, labels, cost.

    Args:
        hosts: Starts the host.
        folder: The unpacked bundle.
        work: An empty folder for this check.

    Raises:
        BundleError: If the bundle cannot even predict; the message says why.
        HostDiedError: If its host died.
    """
    with hosts.start(CheckRequest(bundle=str(folder.absolute())), work=work, bundle=folder) as host:
        for message in host.messages():
            if isinstance(message, Failed):
                raise error_of(message)
            if isinstance(message, CheckResult):
                return message
    raise HostDiedError("The bundle host ended without a result; its log.txt says more")
