"""A folder of volume files.

<root>/<image id>.nii.gz|.nii|.nrrd           images; of one id with several endings the first of these counts
<root>/<image id>.png|.jpg|.jpeg|.tif|.tiff   2-D pictures, in capitals, too
<root>/<image id><suffix>.<ending>            its channels, where the data set says by which suffixes they are told
<root>/labels/<image id>.<ending>             labels that the user already has
<root>/teachback/labels/<image id>/<label id>.<ending>   labels that we wrote, one file each, never overwritten

Names that begin with a dot, or are no UTF-8, are not there. Links are followed only where they lead to a file inside
the root.
"""

import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from configs.errors import (
    ConflictError,
    DamagedImageError,
    InvalidRequestError,
    NotFoundError,
    ReadOnlyStoreError,
    StoreError,
    is_full,
)
from configs.specs.dataset import Channel, OnGap
from infra.adapters.images.base import PICTURES, FetchedImage, LabelToStore, StoredImage, StoredLabel
from infra.adapters.images.channels import MISSING, check_channels
from infra.adapters.images.files import copy_hashed, create_exclusively, hash_file, is_cut_short, settle
from infra.adapters.images.patient import FIRST_FOLDER, patient_pattern
from infra.adapters.images.seg import hash_lines

_VOLUMES = (".nii.gz", ".nii", ".nrrd")
IMAGE_ENDINGS = (*_VOLUMES, *PICTURES, *map(str.upper, PICTURES))
LABEL_ENDINGS = (*_VOLUMES, ".dcm", ".json")
HASHED_UP_TO_BYTES = 64 * 2**20
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_THEIRS = PurePosixPath("labels")
_OURS = PurePosixPath("teachback/labels")
Entry = os.DirEntry[str]


class FolderStore:
    """An `ImageStore` over a local folder.

    Args:
        root: The folder; it has to exist.
        patient_regex: Group 1 of its first match in an image id is the patient; no match = unknown.
        channels: By their suffixes; files that have none of them are no images. None = each file is an image.

    Raises:
        InvalidRequestError: If the pattern is none that is read in linear time, or has no group; or the channels
            contradict each other.
        StoreError: If the folder is not there.
    """

    on_gap: OnGap = "refuse"

    def __init__(self, root: Path, patient_regex: str = FIRST_FOLDER, channels: Sequence[Channel] = ()) -> None:
        self._patient = patient_pattern(patient_regex)
        check_channels("folder", channels)
        self._names = [channel.name for channel in channels]
        self._suffixes = [channel.suffix for channel in channels] or [""]
        with _translated("open"):
            self._root = root.resolve(strict=True)
        if not self._root.is_dir():
            raise StoreError("The data set's place is a file, not a folder: give the folder that holds the images")

    @property
    def identity(self) -> str:
        """Hash of the folder's place."""
        channels = f"\n{self._suffixes}" if self._names else ""
        return hashlib.sha256(f"folder:{self._root}{channels}".encode()).hexdigest()

    def images(self) -> Iterator[StoredImage]:
        """List the images folder by folder, each file looked at once."""
        with _translated("list"):
            for key, stats in self._cases() if self._names else self._files():
                yield self._describe(PurePosixPath(key), stats)

    def _files(self) -> Iterator[tuple[str, list[os.stat_result | None]]]:
        for folder, entry, ending in self._walk(PurePosixPath(), IMAGE_ENDINGS):
            yield str(folder / entry.name.removesuffix(ending)), [entry.stat()]

    def _cases(self) -> Iterator[tuple[str, list[os.stat_result | None]]]:
        """Yield every image that has a file with one of the suffixes, and what is known of the file of each channel."""
        found: dict[str, list[os.stat_result | None]] = {}
        for stem, [stat] in self._files():
            for number, suffix in enumerate(self._suffixes):
                key = stem.removesuffix(suffix)
                if key not in {"", stem} and _is_plain(key):
                    found.setdefault(key, [None] * len(self._suffixes))[number] = stat
        yield from found.items()

    def headers(self, key: str) -> None:
        """Return None: a file says where it lies when it is read."""

    def labels(self, seen: Collection[str] = ()) -> Iterator[StoredLabel]:
        """List the user's labels, then ours from the oldest to the newest; only those not seen are read."""
        with _translated("list"):
            for folder, entry, ending in self._walk(_THEIRS, LABEL_ENDINGS):
                image = (folder / entry.name.removesuffix(ending)).relative_to(_THEIRS)
                yield from self._unseen(str(image), folder / entry.name, entry.stat(), seen)
            ours = [(entry.stat(), folder / entry.name) for folder, entry, _ in self._walk(_OURS, LABEL_ENDINGS)]
            for stat, path in sorted(ours, key=lambda found: (found[0].st_mtime_ns, found[1])):
                yield from self._unseen(str(path.parent.relative_to(_OURS)), path, stat, seen)

    def _unseen(
        self, image: str, key: PurePosixPath, stat: os.stat_result, seen: Collection[str]
    ) -> Iterator[StoredLabel]:
        content = f"{key} {_stat_fingerprint(stat)}"
        mark = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
        if mark not in seen and any(self._find(image)):
            yield self._describe_label(image, key).model_copy(update={"mark": mark})

    def label_keys(self) -> set[str]:
        """Return the paths of the user's labels and of ours."""
        with _translated("list"):
            places = (_THEIRS, _OURS)
            return {str(folder / entry.name) for top in places for folder, entry, _ in self._walk(top, LABEL_ENDINGS)}

    def image(self, key: str) -> StoredImage:
        """Return the image as it is now."""
        with _translated("read"):
            return self._describe(PurePosixPath(key), [file.stat() if file else None for file in self._known(key)])

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Copy the files to `into`, under names that tell nothing."""
        targets, hashes = [], []
        for number, source in enumerate(self._known(key)):
            if source is None:
                raise DamagedImageError(f"There is no file of the image's channel {self._names[number]}: store it")
            ending = next(ending for ending in IMAGE_ENDINGS if source.name.endswith(ending))
            targets.append(into / f"image{f'-{number}' if number else ''}{ending.lower()}")
            with _translated("read"):
                hashes.append(copy_hashed(source, targets[-1]))
        sha256 = hashes[0] if len(hashes) == 1 else hash_lines(hashes)
        return FetchedImage(paths=targets, sha256=sha256, meta={})

    def label(self, image: str, key: str) -> StoredLabel:
        """Return the label as it is now."""
        path = PurePosixPath(key)
        if image not in _image_of(path):
            raise NotFoundError("label", key)
        self._known(image)
        self._known_label(key)
        with _translated("read"):
            return self._describe_label(image, path)

    def fetch_label(self, key: str, into: Path) -> Path:
        """Copy the label's file to `into`."""
        source = self._known_label(key)
        ending = next(ending for ending in LABEL_ENDINGS if source.name.endswith(ending))
        target = into / f"label{ending}"
        with _translated("read"):
            copy_hashed(source, target)
        return target

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Create `teachback/labels/<image>/<id>.<ending>`."""
        self._known(image)
        ending = next((ending for ending in LABEL_ENDINGS if source.path.name.endswith(ending)), None)
        if ending is None:
            msg = f"A folder keeps labels as {', '.join(LABEL_ENDINGS)}; {source.path.suffix!r} is none of them"
            raise InvalidRequestError(msg)
        key = _OURS / image / f"{source.id}{ending}"
        target = self._root / key
        with _translated("write"):
            if not target.parent.resolve().is_relative_to(self._root):
                raise StoreError("The folder for labels leads out of the data set: remove the link teachback/labels")
            if is_cut_short(target, source.path):
                target.unlink()
            if not create_exclusively(source.path, target, settle=source.settle):
                if hash_file(target) != (source.sha256 or hash_file(source.path)):
                    msg = f"Label {source.id} is stored already with other content: save it under a new id"
                    raise ConflictError(msg)
                if source.settle:
                    settle(target, self._root)
            stored = self._describe_label(image, key, source.sha256)
            return stored.model_copy(update={"settled": source.settle})

    def remove_label(self, key: str) -> bool:
        """Remove a label that we wrote, `teachback/labels/…`; False if it is not there, or not ours.

        Raises:
            StoreError: If it cannot be removed now.
        """
        path = self._resolved(key) if PurePosixPath(key).is_relative_to(_OURS) else None
        if path is None:
            return False
        with _translated("write"):
            path.unlink()
        return True

    def _walk(self, top: PurePosixPath, endings: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, Entry, str]]:
        """Yield (folder relative to the root, entry, ending) for every file with one of the endings."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            found: dict[str, tuple[Entry, str]] = {}
            # One look at each file, from the folder's own list: on a network file system each further one is a round
            # trip.
            for entry in self._scan(folder):
                if entry.is_dir(follow_symlinks=False):
                    if folder / entry.name not in {_THEIRS, _OURS.parent}:
                        waiting.append(folder / entry.name)
                    continue
                ending = next((ending for ending in endings if entry.name.endswith(ending)), None)
                if ending is None or not self._is_file(folder, entry):
                    continue
                stem = entry.name.removesuffix(ending)
                if stem not in found or endings.index(ending) < endings.index(found[stem][1]):
                    found[stem] = (entry, ending)
            yield from ((folder, entry, ending) for entry, ending in found.values())

    def _scan(self, folder: PurePosixPath) -> list[Entry]:
        try:
            entries = [entry for entry in os.scandir(self._root / folder) if _is_there(entry.name)]
        except FileNotFoundError:
            return []
        return sorted(entries, key=lambda entry: entry.name)

    def _is_file(self, folder: PurePosixPath, entry: Entry) -> bool:
        if entry.is_symlink():
            return self._resolved(str(folder / entry.name)) is not None
        return entry.is_file()

    def _resolved(self, relative: str) -> Path | None:
        """Return the file of this relative path, or None if there is none inside the root."""
        pure = PurePosixPath(relative)
        if not _is_plain(relative) or not all(map(_is_there, pure.parts)):
            return None
        try:
            path = (self._root / pure).resolve(strict=True)
        except (OSError, RuntimeError):  # not there, a name too long, or links in a circle
            return None
        return path if path.is_relative_to(self._root) and path.is_file() else None

    def _find(self, image: str) -> list[Path | None]:
        """Return the image's file for each channel."""
        if PurePosixPath(image).parts[:1] in {("labels",), ("teachback",)}:
            return []
        return [
            next((path for ending in IMAGE_ENDINGS if (path := self._resolved(f"{image}{suffix}{ending}"))), None)
            for suffix in self._suffixes
        ]

    def _known(self, image: str) -> list[Path | None]:
        files = self._find(image) if image else []
        if not any(files):
            raise NotFoundError("image", image)
        return files

    def _known_label(self, key: str) -> Path:
        path = self._resolved(key) if _image_of(PurePosixPath(key)) else None
        if path is None or not path.name.endswith(LABEL_ENDINGS):
            raise NotFoundError("label", key)
        return path

    def _describe(self, key: PurePosixPath, stats: Sequence[os.stat_result | None]) -> StoredImage:
        found = self._patient.search(str(key))
        there = [_stat_fingerprint(stat) for stat in stats if stat is not None]
        lacks = [name for name, stat in zip(self._names, stats, strict=False) if stat is None]
        return StoredImage(
            key=str(key),
            patient=found.group(1) if found else None,
            study=None,
            name=key.name,
            meta={},
            fingerprint=there[0] if len(stats) == 1 else hash_lines(there),
            skipped=f"{MISSING}: no file of channel {', '.join(lacks)}" if lacks else "",
        )

    def _describe_label(self, image: str, key: PurePosixPath, sha256: str = "") -> StoredLabel:
        path = self._root / key
        stat = path.stat()
        small = stat.st_size <= HASHED_UP_TO_BYTES
        return StoredLabel(
            image=image,
            key=str(key),
            fingerprint=f"sha256:{sha256 or hash_file(path)}" if small else _stat_fingerprint(stat),
            automatic=False,
            ours=key.is_relative_to(_OURS),
            changed=datetime.fromtimestamp(stat.st_mtime, tz=UTC),
        )


def _is_there(name: str) -> bool:
    """Whether a file's name counts: a name that is no UTF-8 could be neither kept nor asked for."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not name.startswith(".")


def _is_plain(relative: str) -> bool:
    """Whether a relative path names each of its folders once, plainly, and goes only down."""
    return (
        bool(relative)
        and "\0" not in relative
        and str(PurePosixPath(relative)) == relative
        and not relative.startswith("/")
    )


def _image_of(key: PurePosixPath) -> set[str]:
    """Return the image id that a label's key speaks about, by the layout; empty if it is not a label's key."""
    ending = next((ending for ending in LABEL_ENDINGS if key.name.endswith(ending)), None)
    if ending is None:
        return set()
    if key.is_relative_to(_OURS):
        return {str(key.parent.relative_to(_OURS))}
    if key.is_relative_to(_THEIRS):
        return {str(key.relative_to(_THEIRS)).removesuffix(ending)}
    return set()


def _stat_fingerprint(stat: os.stat_result) -> str:
    return f"stat:{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn the operating system's refusals into ours, without the path: it may hold a patient's name."""
    try:
        yield
    except OSError as error:
        if doing == "read" and is_full(error):
            raise  # the folder is fine: there is no room for its copy
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        msg = f"Could not {doing} the data set's folder ({reason}): check that it is mounted and its permissions"
        if doing == "write" and error.errno in _READ_ONLY:
            raise ReadOnlyStoreError(msg) from None
        raise StoreError(msg) from None
    except RuntimeError:  # what pathlib makes of links in a circle
        raise StoreError(f"Could not {doing} the data set's folder: its links go in a circle") from None
