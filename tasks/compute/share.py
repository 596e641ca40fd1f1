"""This host's part of a device: its memory, its priority, and waiting while somebody waits for a prediction."""

import os
import time
from pathlib import Path

import torch

from configs.wire.busy import BusyMark
from configs.wire.message import DeviceShare

# Training must get on even where somebody asks without a pause.
LONGEST_S = 2.0
_LOOK_S = 0.01
_MIB = 2**20
_marks: list[BusyMark] = []


def take(device: DeviceShare | None) -> None:
    """Keep to this part from now on; call it before the accelerator is first used."""
    if device is None:
        return
    if device.nice:
        os.nice(device.nice)
    if device.busy is not None:
        _marks.append(BusyMark(Path(device.busy), writable=False))
    if device.number is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device.number)
        if device.memory_mib is not None and torch.cuda.is_available():
            limit_memory(device.memory_mib)


def limit_memory(mib: float) -> None:
    """Have PyTorch allocate no more than so many MiB of the accelerator."""
    total = torch.cuda.get_device_properties(0).total_memory / _MIB
    torch.cuda.set_per_process_memory_fraction(min(1.0, mib / total))


def give_way() -> None:
    """Between two steps: wait while a live request is being computed on this device, two seconds at most."""
    until = time.monotonic() + LONGEST_S
    while any(mark.is_set for mark in _marks) and time.monotonic() < until:
        time.sleep(_LOOK_S)
