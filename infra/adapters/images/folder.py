"""A folder of image files, of any depth.

<root>/<image id>.nii.gz|.nii|.nrrd|.mha|.mhd images; of one id with several endings the first of these counts
<root>/<image id>.png|.jpg|.jpeg|.tif|.tiff   2-D pictures; all endings in capitals, too
<root>/<image id>/<any name>                  DICOM files: a folder of one series is one image
<root>/<folder>/<any name>                    DICOM files of several series: images called <folder>/<SeriesInstanceUID>;
                                              of one that was alone there before, the id stays
<root>/<image id><suffix>.<ending>            an image's channels, where the data set says by which suffixes
<root>/labels/…, <root>/teachback/labels/…    labels: `folder_layout`

Names that begin with a dot, or are no UTF-8, are not there. Links are followed only where they lead to a file inside
the root.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pydicom.dataset import Dataset

from configs.errors import (
    ConflictError,
    DamagedImageError,
    InvalidRequestError,
    NotFoundError,
    StoreError,
)
from configs.specs.dataset import Channel, OnGap
from infra.adapters.images.base import FetchedImage, Keep, LabelToStore, StoredImage, StoredLabel
from infra.adapters.images.channels import MISSING, check_channels
from infra.adapters.images.files import copy_hashed, create_exclusively, hash_file, is_cut_short, settle
from infra.adapters.images.folder_dicom import DicomFolders, Known
from infra.adapters.images.folder_layout import (
    FINAL,
    IMAGE_ENDINGS,
    LABEL_ENDINGS,
    OURS,
    THEIRS,
    Reading,
    is_image_key,
    readings_of,
)
from infra.adapters.images.folder_put import TAKEN, place_of, put_image, take_back
from infra.adapters.images.folder_series import FolderSeries, mark_of
from infra.adapters.images.folder_tree import Entry, FolderTree, best, is_plain, translated
from infra.adapters.images.folder_watch import FolderWatch
from infra.adapters.images.metaimage import SPLIT, WHOLE, copy_whole
from infra.adapters.images.part10 import read_dicom
from infra.adapters.images.patient import FIRST_FOLDER, patient_pattern
from infra.adapters.images.seg import hash_lines

# Larger labels would make every listing read gigabytes; their size, time and inode tell changes.
HASHED_UP_TO_BYTES = 64 * 2**20


class FolderStore:
    """An `ImageStore` over a local folder.

    Args:
        root: The folder; it has to exist.
        patient_regex: Group 1 of its first match in an image id is the patient; no match = unknown.
        channels: By their suffixes; files that have none of them are no images. None = each file, or DICOM series,
            is an image.
        keep: This host's cache, for what DICOM files say.
        on_gap: What is to become of DICOM series that are no regular grid.
        known: Which series the data set's images are: an image keeps its id.
        keep_free_bytes: What images that are put here leave of the folder's disk.

    Raises:
        InvalidRequestError: If the pattern is none that is read in linear time, or has no group; or the channels
            contradict each other.
        StoreError: If the folder is not there.
    """

    def __init__(
        self,
        root: Path,
        patient_regex: str = FIRST_FOLDER,
        channels: Sequence[Channel] = (),
        keep: Keep | None = None,
        on_gap: OnGap = "refuse",
        known: Known | None = None,
        keep_free_bytes: int = 0,
    ) -> None:
        self.on_gap, self._keep_free_bytes = on_gap, keep_free_bytes
        self._patient = patient_pattern(patient_regex)
        check_channels("folder", channels)
        self._names = [channel.name for channel in channels]
        self._suffixes = [channel.suffix for channel in channels] or [""]
        with translated("open"):
            self._root = root.resolve(strict=True)
        if not self._root.is_dir():
            raise StoreError("The data set's place is a file, not a folder: give the folder that holds the images")
        self._tree = FolderTree(self._root)
        self._dicom = DicomFolders(self._tree, keep, known)

    @property
    def identity(self) -> str:
        """Hash of the folder's place."""
        channels = f"\n{self._suffixes}" if self._names else ""
        return hashlib.sha256(f"folder:{self._root}{channels}".encode()).hexdigest()

    def watch(self) -> FolderWatch:
        """Return what tells when files came or went."""
        return FolderWatch(self._root)

    def images(self) -> Iterator[StoredImage]:
        """List the images folder by folder, each file looked at once."""
        with translated("list"):
            if self._names:
                for key, stats in self._cases():
                    yield self._describe(PurePosixPath(key), stats)
                self._tree.check_there()
                return
            for folder, entries, several in self._dicom.listed(self._tree.folders(PurePosixPath())):
                for entry, ending in best(entries, IMAGE_ENDINGS):
                    yield self._describe(folder / entry.name.removesuffix(ending), [entry.stat()])
                yield from self._series_images(entries, several)
            self._tree.check_there()

    def _series_images(self, entries: Sequence[Entry], several: Mapping[str, FolderSeries]) -> Iterator[StoredImage]:
        """Yield the DICOM series of a folder."""
        named = {entry.name: entry for entry in entries}
        for key, series in several.items():
            if any(self._find(key)):
                continue  # a file beside the folder has the same id
            marks = [mark_of(name, named[name].stat()) for name in series.files]
            yield StoredImage(
                key=key,
                patient=series.patient,
                study=series.study or None,
                name=series.name,
                meta=series.meta,
                fingerprint=hash_lines(marks),
            )

    def _files(self) -> Iterator[tuple[str, list[os.stat_result | None]]]:
        for folder, entry, ending in self._tree.walk(PurePosixPath(), IMAGE_ENDINGS):
            yield str(folder / entry.name.removesuffix(ending)), [entry.stat()]

    def _cases(self) -> Iterator[tuple[str, list[os.stat_result | None]]]:
        """Yield every image that has a file with one of the suffixes, and what is known of the file of each channel."""
        found: dict[str, list[os.stat_result | None]] = {}
        for stem, [stat] in self._files():
            for number, suffix in enumerate(self._suffixes):
                key = stem.removesuffix(suffix)
                if key not in {"", stem} and is_plain(key):
                    found.setdefault(key, [None] * len(self._suffixes))[number] = stat
        yield from found.items()

    def headers(self, key: str) -> list[Dataset] | None:
        """Return the headers of a DICOM series; None for a file, which says where it lies when it is read."""
        found = None if any(self._find(key)) else self._series(key)
        if found is None:
            return None
        folder, series = found
        with translated("read"):
            try:
                return [read_dicom(folder / name, pixels=False) for name in series.files]
            except InvalidRequestError as error:
                raise DamagedImageError(str(error)) from None

    def labels(self, seen: Collection[str] = ()) -> Iterator[StoredLabel]:
        """List the user's labels, the final ones last, then ours from the oldest to the newest; those not seen."""
        with translated("list"):
            for top, order in ((THEIRS, _final_last), (OURS, _oldest_first)):
                found = [
                    (folder / entry.name, entry.stat()) for folder, entry, _ in self._tree.walk(top, LABEL_ENDINGS)
                ]
                for key, stat in sorted(found, key=order):
                    content = f"{key} {_stat_fingerprint(stat)}"
                    mark = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
                    reading = self._reading(key) if mark not in seen else None
                    if reading is not None:
                        yield self._describe_label(reading, key).model_copy(update={"mark": mark})

    def _reading(self, key: PurePosixPath) -> Reading | None:
        """Return which image a label speaks about; None if it is not here."""
        return next((reading for reading in readings_of(key) if self._has(reading.image)), None)

    def label_keys(self) -> set[str]:
        """Return the paths of the user's labels and of ours."""
        with translated("list"):
            places = (THEIRS, OURS)
            return {
                str(folder / entry.name) for top in places for folder, entry, _ in self._tree.walk(top, LABEL_ENDINGS)
            }

    def image(self, key: str) -> StoredImage:
        """Return the image as it is now."""
        with translated("read"):
            files = self._find(key)
            if any(files):
                found = self._describe(PurePosixPath(key), [file.stat() if file else None for file in files])
                return found.model_copy(update={"file": _only(self._root, files)})
            folder, _ = self._known_series(key)
            relative = PurePosixPath(folder.relative_to(self._root))
            entries = self._tree.files_in(relative)
            several = self._dicom.images(relative, entries)
            series = {image.key: image for image in self._series_images(entries, several)}
            if key not in series:
                raise NotFoundError("image", key)
            return series[key]

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Copy the files to `into`, under names that tell nothing."""
        sources = self._find(key)
        if not any(sources):
            return self._fetch_series(*self._known_series(key), into / "image")
        targets, hashes = [], []
        for number, source in enumerate(sources):
            if source is None:
                raise DamagedImageError(f"There is no file of the image's channel {self._names[number]}: store it")
            target, sha256 = _copied(source, into, f"image{f'-{number}' if number else ''}", IMAGE_ENDINGS)
            targets.append(target)
            hashes.append(sha256)
        sha256 = hashes[0] if len(hashes) == 1 else hash_lines(hashes)
        return FetchedImage(paths=targets, sha256=sha256, meta={})

    def _fetch_series(self, folder: Path, series: FolderSeries, into: Path) -> FetchedImage:
        with translated("read"):
            names = enumerate(series.files)
            hashes = [copy_hashed(folder / name, into / f"{number:06d}.dcm") for number, name in names]
        return FetchedImage(paths=[into], sha256=hash_lines(sorted(hashes)), meta=series.meta)

    def label(self, image: str, key: str) -> StoredLabel:
        """Return the label as it is now."""
        self._known_label(key)
        with translated("read"):
            reading = self._reading(PurePosixPath(key))
            if reading is None or reading.image != image:
                raise NotFoundError("label", key)
            return self._describe_label(reading, PurePosixPath(key))

    def fetch_label(self, key: str, into: Path) -> Path:
        """Copy the label's file to `into`."""
        return _copied(self._known_label(key), into, "label", LABEL_ENDINGS)[0]

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Create `teachback/labels/<image>/<id>.<ending>`."""
        if not self._has(image):
            raise NotFoundError("image", image)
        ending = next((ending for ending in LABEL_ENDINGS if source.path.name.endswith(ending)), None)
        if ending is None:
            msg = f"A folder keeps labels as {', '.join(LABEL_ENDINGS)}; {source.path.suffix!r} is none of them"
            raise InvalidRequestError(msg)
        key = OURS / image / f"{source.id}{ending}"
        target = self._root / key
        with translated("write"):
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
            stored = self._describe_label(Reading(image), key, source.sha256)
            return stored.model_copy(update={"settled": source.settle})

    def put_image(self, key: str, source: Path) -> StoredImage:
        """Create the image's file, or of a DICOM series its folder."""
        if self._names:
            raise InvalidRequestError("Images of this data set are a file for each channel: copy them into its folder")
        with translated("write"):
            target = place_of(self._root, key, source)
            if self._lies_elsewhere(key, target):
                raise ConflictError(TAKEN)
            made = put_image(source, target, self._keep_free_bytes)
            # Others may have put one of the same id meanwhile; and a folder's id may stand for a series that was there.
            if not self._has(key) or self._lies_elsewhere(key, target):
                if made:
                    take_back(target)
                raise ConflictError(f"{TAKEN}; nor is what stood under this id before")
        return self.image(key)

    def _lies_elsewhere(self, key: str, target: Path) -> bool:
        """Whether an id has a file of another ending than the one that is to be its only place, or a folder."""
        places = [path for ending in IMAGE_ENDINGS if (path := self._tree.resolved(f"{key}{ending}"))]
        series = self._series(key)
        places += [series[0]] if series else []
        return any(not (target.exists() and place.samefile(target)) for place in places)

    def remove_label(self, key: str) -> bool:
        """Remove a label that we wrote, `teachback/labels/…`; False if it is not there, or not ours.

        Raises:
            StoreError: If it cannot be removed now.
        """
        path = self._tree.resolved(key) if PurePosixPath(key).is_relative_to(OURS) else None
        if path is None:
            return False
        with translated("write"):
            path.unlink()
        return True

    def _find(self, image: str) -> list[Path | None]:
        """Return the image's file for each channel."""
        if not image or not is_image_key(image):
            return []
        return [
            next((path for ending in IMAGE_ENDINGS if (path := self._tree.resolved(f"{image}{suffix}{ending}"))), None)
            for suffix in self._suffixes
        ]

    def _has(self, image: str) -> bool:
        return any(self._find(image)) or self._series(image) is not None

    def _known_series(self, image: str) -> tuple[Path, FolderSeries]:
        found = self._series(image)
        if found is None:
            raise NotFoundError("image", image)
        return found

    def _series(self, image: str) -> tuple[Path, FolderSeries] | None:
        """Return the DICOM series that an image is, and its folder."""
        if self._names or not is_plain(image) or not is_image_key(image):
            return None
        with translated("read"):
            return self._dicom.find(image)

    def _known_label(self, key: str) -> Path:
        path = self._tree.resolved(key) if readings_of(PurePosixPath(key)) else None
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

    def _describe_label(self, reading: Reading, key: PurePosixPath, sha256: str = "") -> StoredLabel:
        path = self._root / key
        stat = path.stat()
        small = stat.st_size <= HASHED_UP_TO_BYTES
        return StoredLabel(
            image=reading.image,
            key=str(key),
            tag=reading.tag,
            fingerprint=f"sha256:{sha256 or hash_file(path)}" if small else _stat_fingerprint(stat),
            automatic=reading.automatic,
            ours=key.is_relative_to(OURS),
            changed=datetime.fromtimestamp(stat.st_mtime, tz=UTC),
        )


def _only(root: Path, files: Sequence[Path | None]) -> str:
    """Return where an image's file lies; nothing if it has several."""
    [first, *others] = files
    return str(first.relative_to(root)) if first is not None and not others else ""


def _copied(source: Path, into: Path, name: str, endings: Sequence[str]) -> tuple[Path, str]:
    """Copy a file as one, under a name that tells nothing but what it is; return it and its sha256."""
    ending = next(ending for ending in endings if source.name.endswith(ending)).lower()
    split = ending == SPLIT
    target = into / f"{name}{WHOLE if split else ending}"
    with translated("read"):
        return target, (copy_whole if split else copy_hashed)(source, target)


def _final_last(found: tuple[PurePosixPath, os.stat_result]) -> tuple[bool, str]:
    """Of what is imported of one image the last counts."""
    key, _ = found
    return key.is_relative_to(THEIRS / FINAL), str(key)


def _oldest_first(found: tuple[PurePosixPath, os.stat_result]) -> tuple[int, str]:
    key, stat = found
    return stat.st_mtime_ns, str(key)


def _stat_fingerprint(stat: os.stat_result) -> str:
    return f"stat:{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
