"""The DICOM series in a folder's folders, as images: which id each has, and where its files lie.

An image keeps its id whatever series come beside it, or go: a folder's name stays with the series that had it first.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from infra.adapters.images.base import Keep
from infra.adapters.images.folder_series import FolderSeries, may_be_dicom, series_in
from infra.adapters.images.folder_tree import FolderTree

Known = Callable[[Collection[str]], Mapping[str, str]]
"""Of these image ids those that the data set has already, and the UID of the series that each stands for."""
Entry = os.DirEntry[str]
_FOLDERS_AT_ONCE, _FILES_AT_ONCE = 250, 10_000
"""What the data set is asked for at a time: a question for each folder would be as many as there are images."""


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
        [(*_, images)] = self.listed([(folder, entries)])
        return images

    def listed(
        self, folders: Iterable[tuple[PurePosixPath, Sequence[Entry]]]
    ) -> Iterator[tuple[PurePosixPath, Sequence[Entry], dict[str, FolderSeries]]]:
        """Yield each folder with its files, and the series among these by their images' ids.

        Raises:
            OSError: If a folder cannot be read.
        """
        for share in _shares(folders):
            # Before its files are looked at: what comes meanwhile changes it again.
            changed = [self._changed(folder) for folder, _ in share]
            found = [self._series_in(folder, entries) for folder, entries in share]
            known = self._known_of([folder for folder, _ in share], found)
            for (folder, entries), time, several in zip(share, changed, found, strict=True):
                named = _named(folder, [series.uid for series in several], known)
                images = {str(folder if series.uid == named else folder / series.uid): series for series in several}
                if images:
                    self._last = (folder, time, images)
                yield folder, entries, images

    def _series_in(self, folder: PurePosixPath, entries: Sequence[Entry]) -> list[FolderSeries]:
        return series_in(self._tree.root / folder, [entry for entry in entries if may_be_dicom(entry.name)], self._keep)

    def _known_of(self, folders: Sequence[PurePosixPath], found: Sequence[Sequence[FolderSeries]]) -> Mapping[str, str]:
        """Ask which of the ids that folders with series may give the data set has already."""
        asked = [
            str(key)
            for folder, several in zip(folders, found, strict=True)
            if folder.parts and several
            for key in (folder, *([folder / several[0].uid] if len(several) == 1 else []))
        ]
        return self._known(asked) if self._known is not None and asked else {}

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
        last = self._last  # once: a listing's threads ask, and each sets it
        if last is not None and last[:2] == (folder, self._changed(folder)):
            return last[2]
        return self.images(folder, self._tree.files_in(folder))

    def _changed(self, folder: PurePosixPath) -> int:
        """Return when a name last came to the folder or went; 0 = there is no such folder."""
        try:
            return (self._tree.root / folder).lstat().st_mtime_ns
        except (OSError, ValueError):  # not there, or a name that the file system cannot have
            return 0


def _named(folder: PurePosixPath, uids: Sequence[str], known: Mapping[str, str]) -> str | None:
    """Return the series whose id is the folder's name; None = each has its UID behind it."""
    if not folder.parts or not uids:
        return None
    own, alone = known.get(str(folder), ""), str(folder / uids[0])
    if own:  # what takes the place of this series is another image: the labels are not its
        return own if own in uids else None
    return uids[0] if len(uids) == 1 and alone not in known else None


def _shares(
    folders: Iterable[tuple[PurePosixPath, Sequence[Entry]]],
) -> Iterator[list[tuple[PurePosixPath, Sequence[Entry]]]]:
    share, files = list[tuple[PurePosixPath, Sequence[Entry]]](), 0
    for folder, entries in folders:
        share.append((folder, entries))
        files += len(entries)
        if len(share) >= _FOLDERS_AT_ONCE or files >= _FILES_AT_ONCE:
            yield share
            share, files = [], 0
    yield share
