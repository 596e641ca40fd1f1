"""More than one process for one training, one per device.

The host that was asked is rank 0. It starts the others on the same request, within its own cage; they have no control
socket and end with it.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import torch
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from configs.wire.host import Failed, TrainRequest
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError
from tasks.compute.training.team import Team

_HOST = "127.0.0.1"
# Longer than it takes a rank to come to the failure that another met first.
_OWN_WORDS_S = 20.0


class Ranks(ClusterEnvironment):  # type: ignore[misc]  # Lightning's types are not read
    """Tells Lightning of processes that we start, all on this machine.

    Args:
        team: This process's place.
        port: Where rank 0 listens, on loopback.
    """

    def __init__(self, team: Team, port: int) -> None:
        self._team = team
        self._port = port

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        """Loopback."""
        return _HOST

    @property
    def main_port(self) -> int:
        """Where rank 0 listens."""
        return self._port

    @staticmethod
    def detect() -> bool:
        """It is given, not found."""
        return False

    def world_size(self) -> int:
        """Return the number of ranks."""
        return self._team.ranks

    def set_world_size(self, size: int) -> None:
        """Nothing to do: the number is given."""

    def global_rank(self) -> int:
        """Return this process's rank."""
        return self._team.rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing to do: the rank is given."""

    def local_rank(self) -> int:
        """Return this process's rank, all being on one machine."""
        return self._team.rank

    def node_rank(self) -> int:
        """Return the only machine's number."""
        return 0


def ranks_for(wanted: int) -> int:
    """Return how many processes train: one per GPU asked for, -1 = all; without a GPU, so many on the cores.

    0 is one process on the processor, which may not have seen a GPU before.

    Raises:
        BadInputError: If there are not as many devices.
    """
    if wanted == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return 1
    gpus = torch.cuda.device_count()
    there = gpus or len(os.sched_getaffinity(0))
    if wanted == -1:
        return gpus or 1
    if not 1 <= wanted <= there:
        raise BadInputError(
            f"num_gpu is {wanted} and this machine has {gpus} GPU(s) and {os.cpu_count()} cores: ask for 1 to {there},"
            " or -1 for all GPUs"
        )
    return wanted


def strategy(team: Team, port: int) -> Strategy | str:
    """Return how Lightning is to train: alone, or with the others by DDP (NCCL on GPUs, Gloo without)."""
    if team.ranks == 1:
        return "auto"
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    return DDPStrategy(cluster_environment=Ranks(team, port), process_group_backend=backend)


def take_place(team: Team) -> None:
    """Make this process's device the current one, or share the cores."""
    if team.ranks > 1:  # they meet on loopback, whatever else this machine is connected to
        os.environ.update(GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo")
    if torch.cuda.is_available():
        torch.cuda.set_device(team.rank)
    elif team.ranks > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // team.ranks))


def start_others(request: TrainRequest, ranks: int, control: Control) -> int:
    """Start ranks 1 and up; return the port on which they meet. One that dies is told of, and ends this host."""
    path = Path.cwd() / "ranks-request.json"
    path.write_text(request.model_dump_json())
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = int(free.getsockname()[1])
    for rank in range(1, ranks):
        argv = [sys.executable, "-m", "tasks.compute.training.other_rank", str(path)]
        argv += [str(number) for number in (rank, ranks, port, os.getpid())]
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        Thread(target=_watch, args=(child, rank, ranks, control), daemon=True).start()
    return port


def _watch(child: "subprocess.Popen[bytes]", rank: int, ranks: int, control: Control) -> None:
    status = child.wait()
    if status == 0:
        return
    # It may have met what this rank is about to meet, and say better.
    time.sleep(_OWN_WORDS_S)
    message = f"Process {rank + 1} of the {ranks} that train ended with status {status}; the host's log says where"
    control.say(Failed(code="bundle_error", message=message))
    os._exit(1)
