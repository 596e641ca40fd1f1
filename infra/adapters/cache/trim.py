"""A host's folder of preprocessed images kept within bounds: the host only adds to it."""

import os
from pathlib import Path


def trim(folder: Path, max_bytes: int) -> int:
    """Remove the files used longest ago until the folder holds *max_bytes* at most; returns the bytes that stay.

    The folder is the host's to write: links in it are not followed, and files that vanish meanwhile do no harm.
    """
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            try:
                stat = path.lstat()
            except FileNotFoundError:
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= max_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size
    return total
