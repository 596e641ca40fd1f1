"""Looks from within at what the cage really is: a step that a kernel skipped silently must not go unseen."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.wire.warm import Bind

_KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
_OWN = {"proc", "dev", "tmp"}
_WRITABLE = ("/proc", "/dev", "/tmp")  # noqa: S108 - the host's own


class NoCageError(Exception):
    """The cage is not what was asked for; nothing may run in it."""


def namespaces() -> dict[str, str]:
    """Return the namespaces that this process is in, by kind."""
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in _KINDS}  # noqa: PTH115 - not a path


def prove(binds: Sequence[Bind], *, outside: Mapping[str, str]) -> None:
    """Check namespaces, capabilities, the root folder and every mount.

    Args:
        binds: What was to be seen.
        outside: The namespaces before.

    Raises:
        NoCageError: If anything is not as asked.
    """
    shared = [kind for kind, name in namespaces().items() if outside[kind] == name]
    if shared:
        raise NoCageError(f"it shares namespaces with the outside: {', '.join(shared)}")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")):
        raise NoCageError("it has capabilities left")
    if status["NoNewPrivs"].strip() != "1":
        raise NoCageError("programs may gain privileges")
    allowed = _OWN | {bind.path.split("/")[1] for bind in binds}
    if foreign := set(os.listdir("/")) - allowed:  # noqa: PTH208 - names are all that is asked
        raise NoCageError(f"its root holds {len(foreign)} thing(s) that were not asked for")
    writable = [*_WRITABLE, *(bind.path for bind in binds if bind.writable or bind.device)]
    for mount, options in _mounts():
        if "ro" not in options and not any(f"{mount}/".startswith(f"{path}/") for path in writable):
            raise NoCageError("a folder that is to be read only can be written")
    if _mounts()[0][0] != "/" or "ro" not in _mounts()[0][1]:
        raise NoCageError("its root can be written")


def _mounts() -> list[tuple[str, list[str]]]:
    """Return every mount's place and options, by mountinfo's fields (proc_pid_mountinfo(5))."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((_unescaped(fields[4]), fields[5].split(",")) for fields in lines)


def _unescaped(path: str) -> str:
    """Undo mountinfo's octal escapes."""
    for character in (" ", "\t", "\n", "\\"):
        path = path.replace(f"\\{ord(character):03o}", character)
    return path
