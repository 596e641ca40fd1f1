"""What may be asked of this installation's devices, as far as its machines have told of them."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.specs.train import TrainSpec
from infra.adapters.catalog.tables import Device
from infra.wiring import Parts
from tasks.devices import claims
from tasks.devices.here import devices, host


def tell(parts: Parts) -> None:
    """Note this machine's devices, so that a request for others is refused before it waits for them."""
    with parts.catalog.write() as session:
        claims.register(session, host(), devices())


def fault_of(session: Session, spec: TrainSpec) -> str:
    """Return why no machine of this installation can train so, as a sentence; empty = one can, or none has told yet."""
    known = session.scalars(select(Device)).all()
    graphics = Counter(device.host for device in known if device.kind == "gpu")
    if not known:
        return ""
    if spec.precision == "16-mixed" and not graphics:
        return (
            f"precision is 16-mixed, which needs a GPU, and none of this installation's {_machines(known)} has one:"
            " ask for bf16-mixed, 32-true or auto"
        )
    most = max(graphics.values()) if graphics else int(max(device.total for device in known))
    if spec.num_gpu > most:
        what = f"{most} GPU(s)" if graphics else f"no GPU and {most} cores"
        return (
            f"num_gpu is {spec.num_gpu} and the largest of this installation's {_machines(known)} has {what}: ask for"
            f" 1 to {most}, 0 for the processor, or -1 for all GPUs"
        )
    return ""


def _machines(known: Sequence[Device]) -> str:
    count = len({device.host for device in known})
    return "machine" if count == 1 else f"{count} machines"
