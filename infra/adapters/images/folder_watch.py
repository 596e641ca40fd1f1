"""Whether files came to a folder, or went, told by its folders' times of change: no file is looked at.

The kernel's own notices (inotify) would come sooner, but from no other machine that shares the folder, and each takes
one of a limited number of watches for every folder.
"""

import os
from pathlib import Path

from infra.adapters.images.folder_layout import OURS
from infra.adapters.images.folder_tree import is_there, translated


class FolderWatch:
    """Remembers when each folder below a root last changed; links are not followed.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ours = str(root / OURS.parts[0])  # what we write there is no news
        self._times: dict[str, int] = {}

    def changed(self) -> bool:
        """Say whether a name came or went since the last time; True the first time.

        Raises:
            StoreError: If the folder cannot be read.
        """
        with translated("list"):
            return self._changed()

    def _changed(self) -> bool:
        root = str(self._root)
        changed = [root] if self._times.get(root) != os.lstat(root).st_ctime_ns else []
        for folder, time in list(self._times.items()):
            if folder != root and _time_of(folder) != time:
                changed.append(folder)
        for folder in changed:
            self._look(folder)
        return bool(changed)

    def _look(self, top: str) -> None:
        """Note the folder's time, then which folders are new in it, so that what comes meanwhile is seen next time."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            time = _time_of(folder)
            if time is None:
                self._times.pop(folder, None)
                continue
            self._times[folder] = time
            waiting += [inner for inner in _folders_in(folder) if inner not in self._times and inner != self._ours]


def _time_of(folder: str) -> int | None:
    try:
        # The clock's own: the other time is set back by what copies folders with their times.
        return os.lstat(folder).st_ctime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if is_there(entry.name)]
            return [entry.path for entry in named if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
