"""Weights from outside: let in once a bundle host, which may read them, finds that they are of the network."""

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import BinaryIO

from configs.errors import HostDiedError
from configs.wire.admit import AdmitRequest, Admitted
from configs.wire.host import Failed
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder

# Where the header of safetensors, a JSON object, begins: neither a zip nor a pickle of torch has this byte there.
_HEADER_AT, _HEADER = 8, b"{"


def admit(parts: Parts, bundle_id: str, labels: Mapping[int, str], sent: BinaryIO) -> str:
    """Return the blob that weights become: all tensors of the bundle's network for these labels, as safetensors.

    Args:
        parts: The adapters.
        bundle_id: Whose network.
        labels: The experiment's names by index.
        sent: Safetensors, or what `torch.save` wrote of a state dictionary.

    Raises:
        InvalidRequestError: If they cannot be read, or are of another network, or not finite; the message says why.
        HostError: If the bundle's network cannot be built, or its host died.
    """
    scratch, bundle = parts.settings.home / "work", bundle_folder(parts, bundle_id)
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="admit-") as folder:
        work = Path(folder) / "host"
        request = AdmitRequest(
            bundle=str(bundle), labels=dict(labels), weights=str(_written(sent, Path(folder))), out=str(work / "out")
        )
        with parts.hosts.start(request, work=work, bundle=bundle) as host:
            for message in host.messages():
                if isinstance(message, Failed):
                    raise error_of(message)
                if isinstance(message, Admitted):
                    return parts.blobs.put_file(Path(message.weights))
    raise HostDiedError("The bundle host ended without a result; its log.txt says more")


def _written(sent: BinaryIO, folder: Path) -> Path:
    """Write what was sent under a name that says how it is to be read."""
    start = sent.read(_HEADER_AT + 1)
    file = folder / ("sent.safetensors" if start[_HEADER_AT:] == _HEADER else "sent.pt")
    with file.open("wb") as target:
        target.write(start)
        copyfileobj(sent, target)
    return file
