"""How the process is started that bundle hosts are forked from."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# An argument that only takes space: a fork shows there what it works on, where its command line was.
_ROOM = " " * 1024
# Longer than somebody who annotates pauses: a rest costs the first host after it the imports.
_REST_S = 1800.0


def warm_command(address: Path, *, rest_s: float = _REST_S) -> list[str]:
    """Return the command of a warm process that listens at *address*, and rests when not wanted for *rest_s*."""
    return [sys.executable, "-m", "tasks.compute.warm", str(address), str(rest_s), _ROOM]


def warm_environment() -> dict[str, str]:
    """Return its whole environment; what the forks can read of it is a bundle's to read."""
    return {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
