"""The cage around a bundle host: bubblewrap where it works, else resource limits and a clean environment."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from configs.wire.warm import Bind
from infra.adapters.compute.base import CageLevel

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/sys")
# The loader's cache, BLAS alternatives, time zone, and names of users: nothing that tells about this site.
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "passwd", "group")


_BUBBLEWRAP = ("bwrap", "--unshare-all", "--die-with-parent")
# The machine's root may write there without any capability, such as which program the kernel runs after a crash.
_OF_THE_KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")


class View(NamedTuple):
    """What a host may see of the file system besides Python and the system's libraries."""

    readable: Sequence[Path]
    writable: Sequence[Path]


@cache
def probe() -> CageLevel:
    """Return the strongest cage that works here; tried once per process."""
    return "bubblewrap" if _runs(_bubblewrap()) else "limits"


@cache
def _bubblewrap() -> tuple[str, ...]:
    """Return how bubblewrap is called; it forbids more user namespaces within from version 0.8 on."""
    forbidding = (*_BUBBLEWRAP, "--unshare-user", "--disable-userns")
    return forbidding if _runs(forbidding) else _BUBBLEWRAP


def _runs(command: Sequence[str]) -> bool:
    try:
        tried = subprocess.run(
            [*command, "--ro-bind", "/", "/", "--proc", "/proc", "true"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def python_paths(root: Path) -> list[Path]:
    """Return the folders that the interpreter, its packages and our own code are in."""
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent]
    return [*found, root / "configs", root / "tasks"]


def binds(view: View, root: Path) -> list[Bind]:
    """Return all that a host sees of the file system, parents before what lies in them."""
    system = [Bind(path=path, optional=True) for path in (*_SYSTEM, *(f"/etc/{name}" for name in _ETC))]
    devices = [Bind(path=str(path), device=True, optional=True) for path in sorted(Path("/dev").glob("nvidia*"))]
    seen = dict.fromkeys((*python_paths(root), *view.readable), False)
    seen |= dict.fromkeys(view.writable, True)
    # Parents first, so that a writable folder within a readable one stays writable.
    ordered = sorted(seen.items(), key=lambda item: (len(item[0].parts), not item[1]))
    ours = [
        Bind(path=str(path), writable=writable)
        for path, writable in ordered
        if not any(path.is_relative_to(base) for base in ("/usr", "/lib", "/bin"))
    ]
    return [*system, *devices, *ours]


def wrap(argv: Sequence[str], *, seen: Sequence[Bind], environment: Mapping[str, str], folder: Path) -> list[str]:
    """Return the bubblewrap command that runs *argv* in *folder*, seeing *seen* and nothing else."""
    command = [*_bubblewrap(), "--new-session", "--clearenv", "--cap-drop", "ALL"]
    for name, value in environment.items():
        command += ["--setenv", name, value]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 (a private one, inside)
    # After /proc itself, in which they are covered by themselves, read-only.
    for name in _OF_THE_KERNEL:
        command += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    for bind in seen:
        kind = "--dev-bind" if bind.device else "--bind" if bind.writable else "--ro-bind"
        command += [f"{kind}-try" if bind.optional else kind, bind.path, bind.path]
    return [*command, "--chdir", os.fspath(folder), "--", *argv]
