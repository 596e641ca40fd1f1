"""How the process is started that bundle hosts are forked from."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# An argument that only takes space: a fork shows there what it works on, where its command line was.
_ROOM = " " * 1024


def warm_command(address: Path) -> list[str]:
    """Return the command of a warm process that listens at *address*."""
    return [sys.executable, "-m", "tasks.compute.warm", str(address), _ROOM]


def warm_environment() -> dict[str, str]:
    """Return its whole environment; what the forks can read of it is a bundle's to read."""
    return {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
