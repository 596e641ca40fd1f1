"""The DICOM series in a folder's folders, as images: which id each has, and where its files lie.

An image keeps its id whatever series come beside it, or go: a folder's name stays with the series that had it first.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from infra.adapters.images.base import Keep
from infra.adapters.images.folder_series import FolderSeries, may_be_dicom, series_in
from infra.adapters.images.folder_tree import FolderTree

Known = Callable[[Collection[str]], Mapping[str, str]]
"""Of these image ids those that the data set has already, and the UID of the series that each stands for."""
Entry = os.DirEntry[str]


class DicomFolders:
    """Folders of DICOM files.

    Args:
        tree: The files.
        keep: This host's cache, for what their headers say; None = they are read each time.
        known: The ids that were given before; None = none were.
    """

    def __init__(self, tree: FolderTree, keep: Keep | None, known: Known | None) -> None:
        self._tree, self._keep, self._known = tree, keep, known
        # One folder at most: many images in a row lie in one, or each lies in its own.
        self._last: tuple[PurePosixPath, int, dict[str, FolderSeries]] | None = None

    def images(self, folder: PurePosixPath, entries: Sequence[Entry]) -> dict[str, FolderSeries]:
        """Return the series among a folder's files by their images' ids.

        Raises:
            OSError: If the folder cannot be read.
        """
        changed = self._changed(folder)  # before its files are looked at: what comes meanwhile changes it again
        found = series_in(
            self._tree.root / folder, [entry for entry in entries if may_be_dicom(entry.name)], self._keep
        )
        named = self._named(folder, [series.uid for series in found])
        images = {str(folder if series.uid == named else folder / series.uid): series for series in found}
        if images:
            self._last = (folder, changed, images)
        return images

    def find(self, image: str) -> tuple[Path, FolderSeries] | None:
        """Return the series that an image is, and its folder: the folder of this name, or the one that it is in.

        Raises:
            OSError: If a folder cannot be read.
        """
        path = PurePosixPath(image)
        for folder in (path, path.parent):
            series = self._images_in(folder).get(image)
            if series is not None:
                return self._tree.root / folder, series
        return None

    def _images_in(self, folder: PurePosixPath) -> dict[str, FolderSeries]:
        if self._last is not None and self._last[:2] == (folder, self._changed(folder)):
            return self._last[2]
        return self.images(folder, self._tree.files_in(folder))

    def _changed(self, folder: PurePosixPath) -> int:
        """Return when a name last came to the folder or went; 0 = there is no such folder."""
        try:
            return (self._tree.root / folder).lstat().st_mtime_ns
        except (OSError, ValueError):  # not there, or a name that the file system cannot have
            return 0

    def _named(self, folder: PurePosixPath, uids: Sequence[str]) -> str | None:
        """Return the series whose id is the folder's name; None = each has its UID behind it."""
        if not folder.parts or not uids:
            return None
        own, alone = str(folder), str(folder / uids[0])
        known = self._known([own, alone] if len(uids) == 1 else [own]) if self._known is not None else {}
        if known.get(own) in uids:
            return known[own]
        return uids[0] if len(uids) == 1 and alone not in known else None
