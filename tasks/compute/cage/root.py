"""The file system of a caged host: an empty root with what it may see bound into it."""

import os
from collections.abc import Sequence
from pathlib import Path

from configs.wire.warm import Bind
from tasks.compute.cage import kernel

# It lies in memory: a bundle must not take the machine's with it.
TMP_BYTES = 2**30
# What of /proc speaks about the machine: readable by the machine's own root without any capability, so covered.
_COVERED = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_PID_MAX_PER_NAMESPACE = (6, 14)  # the kernel before would change the whole machine's limit
_NEW, _OLD = "/new", "/old"


def build(binds: Sequence[Bind], *, processes: int) -> None:
    """Leave the present root for one that holds *binds*, /proc, /dev and an empty /tmp, and nothing else.

    Runs as the first process of new user, mount and process namespaces.

    Raises:
        OSError: If the kernel refuses a step; this process must not go on then.
    """
    sources = [os.path.realpath(bind.path) for bind in binds]  # links may lead through what is not bound
    present = [(bind, source) for bind, source in zip(binds, sources, strict=True) if _wanted(bind, source)]
    # What is mounted here must not appear outside, while what is unmounted outside should go here.
    kernel.mount("none", "/", "", kernel.RECURSIVE | kernel.SLAVE)
    kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.NO_SUID | kernel.NO_DEV, "mode=755")  # noqa: S108 - any folder would do
    Path("/tmp/old").mkdir()  # noqa: S108 - in the file system mounted above
    Path("/tmp/new").mkdir()  # noqa: S108 - as above
    # Pivoted twice: the sources have to be named while the new root is filled, and be gone when it is used.
    kernel.pivot_root("/tmp", "/tmp/old")  # noqa: S108 - as above
    os.chdir("/")
    kernel.mount("tmpfs", _NEW, "tmpfs", kernel.NO_SUID | kernel.NO_DEV, "mode=755,size=1m")
    _proc(processes)
    _dev()
    _tmpfs("/tmp", TMP_BYTES)  # noqa: S108 - within the new root
    for bind, source in present:
        _bind(bind, source)
    Path(_NEW + _OLD).mkdir()
    os.chdir(_NEW)
    kernel.pivot_root(".", "." + _OLD)
    kernel.unmount(_OLD)
    os.chdir("/")
    Path(_OLD).rmdir()
    # Not recursive: of the mounts in it some are to be written.
    kernel.restrict_mount("/", kernel.ATTR_READ_ONLY, recursive=False)


def _wanted(bind: Bind, source: str) -> bool:
    return not bind.optional or os.path.exists(source)  # noqa: PTH110 - both are strings


def _bind(bind: Bind, source: str) -> None:
    """Bind one file or folder, with no more rights than it needs."""
    inside, target = _OLD + source, _NEW + bind.path
    if os.path.isdir(inside):  # noqa: PTH112 - strings, of another root
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch(exist_ok=True)
    kernel.mount(inside, target, "", kernel.BIND | kernel.RECURSIVE)
    # A bind takes over the source's flags whatever it is told, so they are set in a second call.
    attributes = kernel.ATTR_NO_SUID
    if not bind.device:
        attributes |= kernel.ATTR_NO_DEV
    if not (bind.device or bind.writable):
        attributes |= kernel.ATTR_READ_ONLY
    kernel.restrict_mount(target, attributes, recursive=True)


def _proc(processes: int) -> None:
    """Mount /proc of the new process namespace; bound the number of processes in it, and all of its namespaces."""
    proc = Path(_NEW, "proc")
    proc.mkdir()
    kernel.mount("proc", str(proc), "proc", kernel.NO_SUID | kernel.NO_DEV | kernel.NO_EXEC)
    # In a user namespace of its own a process has every capability, and the kernel more ways to be attacked.
    (proc / "sys/user/max_user_namespaces").write_text("0")
    if bounds_processes():
        (proc / "sys/kernel/pid_max").write_text(str(processes))
    for name in _COVERED:
        covered = proc / name
        if covered.exists():
            kernel.mount(str(covered), str(covered), "", kernel.BIND | kernel.RECURSIVE)
            kernel.restrict_mount(str(covered), kernel.ATTR_READ_ONLY, recursive=True)


def bounds_processes() -> bool:
    """Tell whether this kernel bounds the number of processes of one namespace."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= _PID_MAX_PER_NAMESPACE


def _dev() -> None:
    """Make a /dev of what no program can do without."""
    dev = Path(_NEW, "dev")
    dev.mkdir()
    kernel.mount("tmpfs", str(dev), "tmpfs", kernel.NO_SUID, "mode=755,size=1m")
    for name in _DEVICES:
        (dev / name).touch()
        kernel.mount(f"{_OLD}/dev/{name}", str(dev / name), "", kernel.BIND)
    (dev / "pts").mkdir()
    kernel.mount("devpts", str(dev / "pts"), "devpts", kernel.NO_SUID | kernel.NO_EXEC, "newinstance,ptmxmode=0666")
    for name, goal in _LINKS.items():
        (dev / name).symlink_to(goal)
    _tmpfs("/dev/shm")  # noqa: S108 - within the new root


def _tmpfs(path: str, size: int = 0) -> None:
    """Mount an empty folder in memory; size 0 = half of the machine's memory."""
    Path(_NEW + path).mkdir()
    options = f"mode=1777,size={size}" if size else "mode=1777"
    kernel.mount("tmpfs", _NEW + path, "tmpfs", kernel.NO_SUID | kernel.NO_DEV, options)
