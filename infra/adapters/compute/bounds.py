"""What a host may take of the machine, beside what it limits itself to."""

import os
import shutil
import time
from pathlib import Path

# Of a container, by cgroup v2 and v1; without one, or with no limit, they are absent or larger than the memory.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# Asking the file system costs a call per message otherwise, and training says much.
_LOOK_EVERY_S = 1.0


def machine_mib() -> int:
    """Return this machine's memory, or what its container may have of it, in MiB."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _LIMITS:
        try:
            found = min(found, int(Path(file).read_text()))
        except (OSError, ValueError):
            continue
    return found // 2**20


class Disk:
    """Watches that a host leaves something of the disk, for everybody else writes there too.

    Args:
        folder: Its private folder on that disk.
        keep_free: Bytes that have to stay free.
    """

    def __init__(self, folder: Path, keep_free: int) -> None:
        self._folder = folder
        self._keep_free = keep_free
        self._looked_at = time.monotonic()

    def is_full(self) -> bool:
        """Tell whether less is free; looks at most once a second."""
        now = time.monotonic()
        # Asked at every message, of which a training sends many.
        if now - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = now
        return shutil.disk_usage(self._folder).free < self._keep_free

    def give_back(self) -> None:
        """Delete the private folder of a host that has ended."""
        shutil.rmtree(self._folder, ignore_errors=True)
