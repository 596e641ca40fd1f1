"""The process of a rank that does not lead: `python -m tasks.compute.training.other_rank …`, started by rank 0."""

import os
import sys
import traceback
from pathlib import Path
from queue import SimpleQueue

from configs.wire.host import REQUESTS, HostMessage, TrainRequest
from tasks.compute import confine, lean
from tasks.compute.training.team import Team


class Silent:
    """What a rank that does not lead has to say: nothing."""

    def say(self, message: HostMessage) -> None:
        """Drop the message."""


def main(argv: list[str]) -> int:
    """Train as one of several ranks, silently; returns the exit status."""
    path, rank, ranks, port, leader = argv
    confine.die_with(int(leader))
    request = REQUESTS.validate_json(Path(path).read_bytes())
    if not isinstance(request, TrainRequest):
        return 2
    lean.import_monai()
    from tasks.compute.training.run import train  # noqa: PLC0415 - it takes MONAI as it is now

    try:
        train(request, Silent(), SimpleQueue(), Team(int(rank), int(ranks)), int(port))
    except Exception:  # noqa: BLE001 - the edge of this process: whatever bundle code raises goes to the log
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    status_ = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status_)
