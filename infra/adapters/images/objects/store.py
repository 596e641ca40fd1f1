"""An object store whose images a manifest names.

<folder>/manifest.json                                     or any *.json that the data set's address ends in
<folder>/teachback/labels/<image id>/<label id>.<ending>   labels that we wrote, one object each, never overwritten

An image's key is its `image.id`, a label's is its `label.id`; one of ours is known by its path below the folder.
"""

import hashlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from configs.errors import AccessError, ConflictError, DamagedImageError, InvalidRequestError, NotFoundError, StoreError
from configs.specs.dataset import OnGap
from infra.adapters.images.base import MOST_BYTES, ZIPPED, FetchedImage, Keep, LabelToStore, StoredImage, StoredLabel
from infra.adapters.images.files import hash_file
from infra.adapters.images.folder_layout import IMAGE_ENDINGS, LABEL_ENDINGS
from infra.adapters.images.objects.check import look_at, look_at_all
from infra.adapters.images.objects.faults import NotThereError
from infra.adapters.images.objects.files import Found, ObjectFiles
from infra.adapters.images.objects.manifest import FORMAT, TABLE, index_manifest
from infra.adapters.images.objects.place import Endpoints, ObjectPlace
from infra.adapters.images.objects.written import write_manifest
from infra.adapters.images.watch import MarkWatch

MISSING = "missing"
_OURS = "teachback/labels"
_LONGEST = 1024  # bytes of an object's name, in all of these stores
_IMAGES = """SELECT image.id, patient, cohort,
group_concat(object.path || ' ' || object.mark, ' '), count(object.mark) = count(*)
FROM image JOIN file ON file.image = image.n LEFT JOIN object ON object.path = file.path"""
_ALL_IMAGES = f"{_IMAGES} GROUP BY image.n ORDER BY image.n"
_LACKING = """SELECT (SELECT count(DISTINCT image) FROM file WHERE path NOT IN (SELECT path FROM object)), count(*)
FROM image"""
_ONE_IMAGE = f"{_IMAGES} WHERE image.id = ? GROUP BY image.n"
_FILES = "SELECT path FROM file JOIN image ON image.n = file.image WHERE image.id = ? ORDER BY part"
_LABELS = """SELECT label.key, image.id, label.path, content, mark, changed FROM label
JOIN image ON image.n = label.image LEFT JOIN object ON object.path = label.path"""
_ALL_LABELS = f"{_LABELS} WHERE content IS NOT NULL OR mark IS NOT NULL ORDER BY label.rowid"
_ONE_LABEL = f"{_LABELS} WHERE label.key = ?"
_LABEL = "SELECT path, content FROM label WHERE key = ?"


class ObjectStore:
    """An `ImageStore` over objects.

    Args:
        place: The manifest's place.
        files: The store's objects.
        keep: This host's cache, for the manifest's table.
        endpoints: The operator's own, by which addresses in the manifest are understood.
        on_gap: What is to become of DICOM series that are no regular grid.
        most_bytes: What one object may have.
    """

    def __init__(
        self,
        place: ObjectPlace,
        files: ObjectFiles,
        keep: Keep,
        *,
        endpoints: Endpoints,
        on_gap: OnGap = "refuse",
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.on_gap = on_gap
        self._place, self._files, self._keep = place, files, keep
        self._endpoints, self._most_bytes = endpoints, most_bytes
        self._listed: sqlite3.Connection | None = None

    @property
    def identity(self) -> str:
        """Hash of the manifest's place."""
        # With what is called: an Azure address may leave the account to the credentials.
        text = f"{self._place.root.kind}:{self._files.address}:{self._place.manifest_path}"
        return hashlib.sha256(text.encode()).hexdigest()

    def watch(self) -> MarkWatch:
        """Return what tells when the manifest is another one."""
        return MarkWatch(lambda: self._manifest().mark)

    @contextmanager
    def one_listing(self) -> Iterator[None]:
        """Look for the manifest's objects once for all that is listed within the block; by one thread."""
        with self._looked_at() as table:
            self._listed = table
            try:
                yield
            finally:
                self._listed = None

    def images(self) -> Iterator[StoredImage]:
        """List the manifest's images once all their objects were looked for; those that lack one are `skipped`."""
        with self._looked_at() as table:
            for row in table.execute(_ALL_IMAGES):
                yield _described(*row)

    def missing(self) -> tuple[int, int]:
        """Return how many images lack an object, and how many there are."""
        with self._looked_at() as table:
            lacking, images = table.execute(_LACKING).fetchone()
        return lacking, images

    def headers(self, key: str) -> None:
        """Return None: an object says what it is when it is read."""

    def labels(self, seen: Collection[str] = ()) -> Iterator[StoredLabel]:
        """List the manifest's labels, then ours from the oldest to the newest."""
        with self._table() as table:
            known = {image for (image,) in table.execute("SELECT id FROM image")}
            theirs = table.execute("SELECT 1 FROM label LIMIT 1").fetchone()
        if theirs:  # else looking for all objects tells nothing
            with self._looked_at() as table:
                for row in table.execute(_ALL_LABELS):
                    label = _label(*row)
                    if label.mark not in seen:
                        yield label
        for found in sorted(self._ours(), key=lambda each: (each.changed, each.path)):
            label = self._describe_ours(found)
            if label.mark not in seen and label.image in known:
                yield label

    def written(self, labels: Mapping[str, str]) -> Iterator[str]:
        """Write a copy of the manifest, in pieces, with these labels: key in this store, by the image's key."""
        with self._table() as table:
            yield from write_manifest(table, self._place, labels)

    def label_keys(self) -> set[str]:
        """Return the ids of the manifest's labels, and the paths of ours."""
        with self._table() as table:
            theirs = {key for (key,) in table.execute("SELECT key FROM label")}
        return theirs | {self._key_of(found) for found in self._ours()}

    def image(self, key: str) -> StoredImage:
        """Return the image as it is now."""
        with self._table() as table:
            [first, *others] = paths = self._paths(table, key)
            look_at(table, self._files, paths)
            found = _described(*table.execute(_ONE_IMAGE, (key,)).fetchone())
        return found.model_copy(update={"file": "" if others else first.removeprefix(f"{self._place.root.path}/")})

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Write the image's objects to `into`, under names that tell nothing; several are one image together."""
        with self._table() as table:
            paths = self._paths(table, key)
        folder = into / "image"
        folder.mkdir(parents=True)
        targets = [
            folder / f"{number:06d}{_ending(path, (*IMAGE_ENDINGS, ZIPPED), '.dcm')}"
            for number, path in enumerate(paths)
        ]
        for path, target in zip(paths, targets, strict=True):
            try:
                self._files.get(path, target, self._most_bytes)
            except NotThereError:
                raise DamagedImageError("An object that the manifest names is not there: store it again") from None
        hashes = [hash_file(target) for target in targets]
        dicom = all(target.suffix == ".dcm" for target in targets)
        together = hashlib.sha256("\n".join(sorted(hashes) if dicom else hashes).encode()).hexdigest()
        sha256 = hashes[0] if len(hashes) == 1 and not dicom else together
        return FetchedImage(paths=[folder] if dicom else targets, sha256=sha256, meta={})

    def label(self, image: str, key: str) -> StoredLabel:
        """Return the label as it is now."""
        if key.startswith(f"{_OURS}/"):
            return self._our_label(image, key)
        with self._table() as table:
            path = _one(table, _LABEL, key, "label")[0]
            look_at(table, self._files, [path] if path else [])
            row = table.execute(_ONE_LABEL, (key,)).fetchone()
            label = _label(*row)
        if label.image != image or (path and row[4] is None):
            raise NotFoundError("label", key)
        return label

    def fetch_label(self, key: str, into: Path) -> Path:
        """Write the label to a file in `into`."""
        if key.startswith(f"{_OURS}/"):
            path, content = self._our_path(key), None
        else:
            with self._table() as table:
                path, content = _one(table, _LABEL, key, "label")
        into.mkdir(parents=True, exist_ok=True)
        if content is not None:
            (into / "label.json").write_text(content)
            return into / "label.json"
        target = into / f"label{_ending(path, LABEL_ENDINGS, '.nii.gz')}"
        try:
            self._files.get(path, target, self._most_bytes)
        except NotThereError:
            raise NotFoundError("label", key) from None
        return target

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Create `teachback/labels/<image>/<id>.<ending>`."""
        with self._table() as table:
            self._paths(table, image)
        ending = next((ending for ending in LABEL_ENDINGS if source.path.name.endswith(ending)), None)
        if ending is None:
            msg = f"An object store keeps labels as {', '.join(LABEL_ENDINGS)}; {source.path.suffix!r} is none of them"
            raise InvalidRequestError(msg)
        path = self._our_path(f"{_OURS}/{quote(image, safe='')}/{source.id}{ending}")
        if len(path.encode()) > _LONGEST:
            raise InvalidRequestError("The image's id is too long for the name of an object")
        create_object(self._files, path, source)
        return self._describe_ours(self._files.info(path))

    def remove_label(self, key: str) -> bool:
        """Remove a label that we wrote, `teachback/labels/…`; False if it is not there, or not ours.

        Raises:
            StoreError: If it cannot be removed now.
        """
        try:
            path = self._our_path(key)
            self._files.info(path)
        except (NotFoundError, NotThereError):
            return False
        self._files.remove(path)
        return True

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        """Open the table of the manifest as it is now."""
        try:
            mark = self._manifest().mark
            folder = self._keep(f"{FORMAT}\n{self.identity}\n{self._endpoints}\n{mark}", self._fill)
        except NotThereError as error:
            raise StoreError(self._not_there(error)) from None
        # A listing that is given up is closed by whichever thread collects it.
        table = sqlite3.connect(f"{(folder / TABLE).as_uri()}?mode=ro", uri=True, check_same_thread=False)
        with closing(table):
            yield table

    @contextmanager
    def _looked_at(self) -> Iterator[sqlite3.Connection]:
        """Open the table with all of the manifest's objects that are there."""
        if self._listed is not None:
            yield self._listed
            return
        with self._table() as table:
            look_at_all(table, self._files)
            yield table

    def _manifest(self) -> Found:
        try:
            return self._files.info(self._place.manifest_path)
        except NotThereError as error:
            raise StoreError(self._not_there(error)) from None

    def _fill(self, folder: Path) -> None:
        source = folder / "manifest.json"
        self._files.get(self._place.manifest_path, source, self._most_bytes)
        index_manifest(source, folder / TABLE, self._place, self._endpoints)
        source.unlink()

    def _not_there(self, error: NotThereError) -> str:
        bucket = self._place.root.path.partition("/")[0]
        no_bucket = error.no_bucket
        if self._files.can_list and not no_bucket:
            try:
                next(self._files.pages(f"{bucket}/{self._place.manifest}"), None)
            except NotThereError:
                no_bucket = True
            except AccessError:
                no_bucket = False  # whoever may not list cannot tell
        if no_bucket:
            return "There is no bucket or container of this name: check the data set's address"
        return f"Please check if the url is correct: there is no {self._place.manifest} in the folder that it names"

    def _paths(self, table: sqlite3.Connection, image: str) -> list[str]:
        try:
            found = [path for (path,) in table.execute(_FILES, (image,))]
        except UnicodeError:
            found = []
        if not found:
            raise NotFoundError("image", image)
        return found

    def _ours(self) -> Iterator[Found]:
        if not self._files.can_list:
            return
        for page in self._files.pages(f"{self._place.root.path}/{_OURS}/"):
            yield from (found for found in page if found.path.endswith(LABEL_ENDINGS))

    def _our_path(self, key: str) -> str:
        """Return the path of a label of ours; raises NotFoundError for a key that none of ours has."""
        parts = PurePosixPath(key).parts
        if str(PurePosixPath(key)) != key or len(parts) != len(PurePosixPath(_OURS).parts) + 2 or ".." in parts:
            raise NotFoundError("label", key)
        return f"{self._place.root.path}/{key}"

    def _our_label(self, image: str, key: str) -> StoredLabel:
        try:
            label = self._describe_ours(self._files.info(self._our_path(key)))
        except NotThereError:
            raise NotFoundError("label", key) from None
        if label.image != image:
            raise NotFoundError("label", key)
        return label

    def _key_of(self, found: Found) -> str:
        return found.path.removeprefix(f"{self._place.root.path}/")

    def _describe_ours(self, found: Found) -> StoredLabel:
        key = self._key_of(found)
        image = unquote(PurePosixPath(key).parent.name)
        row = key, image, found.path, None, found.mark, found.changed
        return _label(*row).model_copy(update={"ours": True})


def create_object(files: ObjectFiles, path: str, source: LabelToStore) -> None:
    """Make an object of a label's file; doing it twice makes one.

    Raises:
        ConflictError: If there is one of this name with other content.
        StoreError: If the store fails, or may not be written.
    """
    content = source.path.read_bytes()
    if not files.create(path, content) and files.read(path) != content:
        raise ConflictError(f"Label {source.id} is stored already with other content: save it under a new id")


def _described(key: str, patient: str | None, cohort: str, marks: str | None, whole: int) -> StoredImage:
    return StoredImage(
        key=key,
        patient=patient,
        study=None,
        name=PurePosixPath(key).name or key,
        meta={"cohort": cohort} if cohort else {},
        fingerprint=_hash(marks or ""),
        skipped="" if whole else f"{MISSING}: the manifest names an object that is not there",
    )


def _label(
    key: str, image: str, path: str | None, content: str | None, mark: str | None, changed: str | None
) -> StoredLabel:
    said = content if content is not None else f"{path}\n{mark}"
    return StoredLabel(
        image=image,
        key=key,
        fingerprint=_hash(said),
        automatic=False,
        mark=_hash(f"{key}\n{said}"),
        changed=datetime.fromisoformat(changed).astimezone(UTC) if changed else None,
    )


def _one(table: sqlite3.Connection, query: str, key: str, kind: str) -> tuple[str, str | None]:
    try:
        row: tuple[str, str | None] | None = table.execute(query, (key,)).fetchone()
    except UnicodeError:
        row = None
    if row is None:
        raise NotFoundError(kind, key)
    return row


def _ending(path: str, known: Sequence[str], otherwise: str) -> str:
    """Return how a file of this content is called; a name that tells nothing is DICOM's custom."""
    return next((ending for ending in known if path.lower().endswith(ending)), otherwise)


def _hash(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
