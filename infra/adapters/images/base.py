"""What every image store can do, whatever it is made of.

A store is the user's: images are only read, labels are only added, and so are images that somebody sends.
Keys come from requests, so each store checks them
before it touches anything. Messages of `StoreError` name no patient, path or UID: they may reach a log.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydicom.dataset import Dataset

from configs.specs.dataset import OnGap

MOST_BYTES = 4 * 2**30
"""What one image or label may take, in memory and on its way here, where nobody says otherwise."""

Keep = Callable[[str, Callable[[Path], None]], Path]
"""This host's cache for what a store is read from: the key's folder, filled by the function if it is not there."""

NOT_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "DOC"})
"""Modalities of DICOM series that are no images."""

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""How files of 2-D pictures end, in lower case."""

ZIPPED = ".zip"
"""How a DICOM series in one file ends, in lower case: an object, or what an address leads to."""


class Credentials(BaseModel):
    """What a store asks of us: a user and password, or a bearer token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None


class StoredImage(BaseModel):
    """One volume in a store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(description="Relative path without extension, or SeriesInstanceUID.")
    patient: str | None = Field(description="The store's own patient id; never logged.")
    study: str | None
    name: str = Field(description="What a person calls it: the file's name, or the series description.")
    meta: dict[str, str] = Field(description="What `nextimage` answers besides the key.")
    fingerprint: str = Field(description="Changes when the content does; cheap enough to be listed.")
    file: str = Field(default="", description="Its one file, below the store's root; told of one image, by no listing.")
    skipped: str = Field(default="", description="Why nobody can annotate it, where the listing alone tells.")


class StoredLabel(BaseModel):
    """One label in a store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(description="Key of the image that it speaks about.")
    key: str = Field(description="Relative path with extension, or the SEG's SeriesInstanceUID.")
    fingerprint: str = Field(description="Two labels with one key and one fingerprint are the same content.")
    automatic: bool = Field(description="Whether a program made all of it: not a label to learn from.")
    ours: bool = Field(default=False, description="Whether this system wrote it.")
    mark: str = Field(default="", description="Tells a later listing that this content was seen; cheap.")
    tag: str = Field(default="final", description="The name under which its owner keeps it.")
    author: str = Field(default="", description="Who made it, by the label's own word; never logged.")
    changed: datetime | None = Field(default=None, description="When it was written, in UTC, where the store knows.")
    settled: bool = Field(default=True, description="Whether it outlives a power cut; else it has to be put again.")


class FetchedImage(BaseModel):
    """An image's content, on this host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: list[Path] = Field(description="A volume file, or a zip or folder of DICOM files, for each channel.")
    sha256: str = Field(description="Hash of the content: of the file, or of the instances whatever their order.")
    meta: dict[str, str]


class LabelToStore(BaseModel):
    """A label's bytes on their way into a store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(
        pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$",
        description="The catalog's id: storing it twice makes one object.",
    )
    path: Path = Field(description="A SEG for DICOMweb; for a folder NIfTI, NRRD, SEG, `.png` or `.json`.")
    sha256: str = Field(default="", description="Of the file, in hex, where it is known: it is not read again then.")
    settle: bool = Field(default=True, description="Whether to wait until it outlives a power cut.")


class ImageSource(Protocol):
    """What an image can be fetched from."""

    @property
    def identity(self) -> str:
        """Hex name of this source's place: two with one identity hold the same images under the same keys."""

    @property
    def on_gap(self) -> OnGap:
        """What is to become of DICOM series that are no regular grid."""

    def image(self, key: str) -> StoredImage:
        """Return the image as it is now.

        Raises:
            NotFoundError: If there is none.
            StoreError: If the source cannot be read.
        """

    def fetch(self, key: str, into: Path) -> FetchedImage:
        """Write the image's content under the folder `into`.

        Raises:
            NotFoundError: If there is none.
            DamagedImageError: If the source answers, but gives nothing that can be read, or less than it promised.
            StoreError: If the source cannot be read.
        """


class Watch(Protocol):
    """Remembers what it saw of a store."""

    def changed(self) -> bool:
        """Say, by a question that costs little, whether images or labels may have come or gone; True the first time.

        Raises:
            StoreError: If the store cannot be read.
        """


class ImageStore(ImageSource, Protocol):
    """A user's image store."""

    def watch(self) -> Watch:
        """Return what tells when the store is to be listed again."""

    def images(self) -> Iterator[StoredImage]:
        """List the images, in no promised order; also what stands among them and is none, as `skipped`.

        Raises:
            StoreError: If the store cannot be listed.
        """

    def headers(self, key: str) -> list[Dataset] | None:
        """Return the headers of a DICOM image, as far as they say what it is and where it lies; None for a file.

        Raises:
            NotFoundError: If there is none.
            DamagedImageError: If the store cannot tell of this image alone.
            StoreError: If the store cannot be read.
        """

    def labels(self, seen: Collection[str] = ()) -> Iterator[StoredLabel]:
        """List the labels whose image is in the store, in no promised order, but for those whose `mark` was seen.

        Raises:
            StoreError: If the store cannot be listed.
        """

    def label_keys(self) -> set[str]:
        """Return the keys of all labels that are there now; cheap, since no label is read.

        Raises:
            StoreError: If the store cannot be listed.
        """

    def label(self, image: str, key: str) -> StoredLabel:
        """Return the label as it is now.

        Raises:
            NotFoundError: If there is none, or it speaks about another image.
            StoreError: If the store cannot be read.
        """

    def fetch_label(self, key: str, into: Path) -> Path:
        """Write the label's content as one file under the folder `into` and return the file.

        Raises:
            NotFoundError: If there is none.
            StoreError: If the store cannot be read.
        """

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Add a label; return once it is durable there. Repeating it with the same bytes changes nothing.

        A store that waits for its disk may leave that to a later put, where the label is not to be settled at once.

        Raises:
            NotFoundError: If there is no such image.
            ConflictError: If this label id is taken by other content.
            InvalidRequestError: If the bytes are not of a kind that this store keeps, or speak about another image.
            ReadOnlyStoreError: If the store refuses to be written.
            StoreError: If the store could not be written now.
        """


@runtime_checkable
class Growing(Protocol):
    """An image store that also takes images: a folder, a DICOMweb server."""

    def put_image(self, key: str, source: Path) -> StoredImage:
        """Add an image; return once it is durable there. Nothing is replaced; the same again changes nothing.

        Args:
            key: Its id. A DICOMweb server knows a series by its SeriesInstanceUID alone.
            source: A file, whose name's ending says its format, or a folder with the instances of a DICOM series.

        Raises:
            ConflictError: If the id is taken by other content.
            InvalidRequestError: If the id or the format is none that this store has.
            ReadOnlyStoreError: If the store refuses to be written.
            StoreError: If the store could not be written now.
        """
