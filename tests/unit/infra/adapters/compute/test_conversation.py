"""What a host says is taken as it comes, however much of it there is."""

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from configs.wire.framing import frame
from configs.wire.host import Case, Checkpoint, Finished, TrainRequest
from infra.adapters.compute.bounds import Disk
from infra.adapters.compute.conversation import HostProcess


class Ended:
    """A process that has done its work."""

    pid = 1

    def wait(self, timeout_s: float) -> int | None:
        """Return that it ended well."""
        del timeout_s
        return 0

    def kill(self) -> int:
        """Return that it ended well."""
        return 0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a control socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_any_number_of_checkpoints_that_are_gone_is_passed_over(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = ends
    request = TrainRequest(
        bundle=str(tmp_path),
        cases=[Case(id="one", image=["one.nii"])],
        labels={1: "liver"},
        out=str(tmp_path),
        cache=str(tmp_path),
    )
    gone = frame(Checkpoint(path=str(tmp_path / "gone.ckpt"), epoch=1))
    host = HostProcess(Ended(), ours, request, silence_s=60, disk=Disk(tmp_path / "private", 0))
    talk = Thread(target=theirs.sendall, args=(gone * 2000 + frame(Finished()),))
    talk.start()

    assert list(host.messages()) == []

    talk.join()
