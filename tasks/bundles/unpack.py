"""Unpack a bundle: every member checked, nothing run, named by the hash of its content."""

import hashlib
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from configs.errors import InvalidRequestError
from tasks.archives import open_zip, readable_archive, refuse_more

# Weights of the largest published bundles are a few GB.
MAX_BYTES = 20 * 2**30
MAX_FILES = 20_000
# Weights hardly shrink and text does tenfold: beyond this it is a zip bomb.
MAX_RATIO = 200
_BLOCK = 2**20
_MARK = PurePosixPath("configs/metadata.json")
# Version control and caches are no part of a bundle, and differ from one copy to the next.
_SKIPPED = frozenset({".git", ".cache", "__pycache__", ".DS_Store", "__MACOSX"})


class Member(NamedTuple):
    """One file to unpack: where it goes, its size and its packed size as the archive says, and its bytes."""

    name: str
    size: int
    packed: int
    content: IO[bytes]


def unpack(source: Path, bundles_dir: Path) -> tuple[str, Path]:
    """Unpack an archive, or copy a folder, into `bundles_dir/<sha256 of its content>`, read-only.

    Args:
        source: A zip, a tar (also compressed), or a folder. `configs/metadata.json` lies at its top or one below.
        bundles_dir: Where bundles are kept.

    Returns:
        The hash, and the folder; if it was there already, that one.

    Raises:
        InvalidRequestError: If it is no bundle, or a member's path, kind, size or number is refused.
    """
    bundles_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundles_dir, prefix=".unpack-") as scratch:
        top = Path(scratch) / "content"
        top.mkdir()
        with readable_archive(repr(source.name)):
            write_all(_root_of_folder(source) if source.is_dir() else source, top)
        root = _root(top)
        identity = content_hash(root)
        final = bundles_dir / identity
        if not final.exists():
            _make_read_only(root)
            root.chmod(0o755)  # a folder is renamed only by who may write it
            try:
                root.rename(final)
            except OSError:
                if not final.exists():  # another process was first: same content, same name
                    raise
            final.chmod(0o555)
        make_writable(Path(scratch))
    return identity, final


def content_hash(folder: Path) -> str:
    """Return a hash of a folder's file names and bytes; nothing else about them counts."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{inner}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def write_all(source: Path, top: Path) -> None:
    """Write every member of an archive or folder below *top*, counting what is really written.

    Raises:
        InvalidRequestError: If a member's path, kind, size or number is refused.
    """
    written = 0
    for count, member in enumerate(_members(source), start=1):
        if count > MAX_FILES:
            raise InvalidRequestError(f"A bundle may have {MAX_FILES} files; {source.name} has more")
        inside = _checked(member.name)
        if _SKIPPED & set(inside.parts):
            continue
        target = top / inside
        if member.packed and member.size > MAX_RATIO * member.packed + _BLOCK:
            raise InvalidRequestError(f"{member.name!r} would grow more than {MAX_RATIO} times: refused")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := member.content.read(_BLOCK):
                written += len(block)
                if written > MAX_BYTES:
                    raise InvalidRequestError(f"A bundle may have {MAX_BYTES // 2**30} GiB; this one has more")
                file.write(block)


def _members(source: Path) -> Iterator[Member]:
    if source.is_dir():
        yield from _folder_members(source)
    elif zipfile.is_zipfile(source):
        yield from _zip_members(source)
    elif source.is_file() and tarfile.is_tarfile(source):
        yield from _tar_members(source)
    else:
        raise InvalidRequestError(f"{source.name!r} is no zip, tar or folder; a bundle is one of these")


def _root_of_folder(source: Path) -> Path:
    """Return the bundle in a folder before anything of it is copied: it might be a whole disk."""
    for path in sorted(source.iterdir()):
        refuse_link(path, path.name)
    return _root(source)


def refuse_link(path: Path, name: str) -> None:
    """Refuse a link.

    Raises:
        InvalidRequestError: With *name*, if *path* is one.
    """
    if path.is_symlink():
        raise InvalidRequestError(f"{name!r} is a link; a bundle holds plain files only")


def _folder_members(source: Path) -> Iterator[Member]:
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        refuse_link(path, name)
        if path.is_file():
            with path.open("rb") as content:
                yield Member(name, path.stat().st_size, 0, content)


def _zip_members(source: Path) -> Iterator[Member]:
    with open_zip(source, MAX_FILES) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InvalidRequestError(f"{info.filename!r} is no plain file; a bundle holds plain files only")
            if not info.is_dir():
                with archive.open(info) as content:
                    yield Member(info.filename, info.file_size, max(1, info.compress_size), content)


def _tar_members(source: Path) -> Iterator[Member]:
    with tarfile.open(source) as archive:
        for count, info in enumerate(archive, start=1):
            refuse_more(count, MAX_FILES)  # each is kept by its reader, folders too
            if info.isdir():
                continue
            content = archive.extractfile(info) if info.isreg() else None
            if content is None:
                raise InvalidRequestError(f"{info.name!r} is no plain file; a bundle holds plain files only")
            with content:
                yield Member(info.name, info.size, 0, content)


def _checked(name: str) -> PurePosixPath:
    """Return a member's path if it stays below the top.

    Raises:
        InvalidRequestError: If it is absolute, climbs, or uses a backslash or a drive.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise InvalidRequestError(f"The member {name!r} would be written outside the bundle: refused")
    return path


def _root(top: Path) -> Path:
    """Return the folder that holds configs/metadata.json: the top, or the one below that does.

    Raises:
        InvalidRequestError: If there is none, or several below.
    """
    if (top / _MARK).is_file():
        return top  # a bundle below is a part of it: an app's model has those of the app
    found = [path for path in sorted(top.iterdir()) if (path / _MARK).is_file()]
    if len(found) != 1:
        raise InvalidRequestError(f"A bundle has one {_MARK} at its top or one folder below; {len(found)} were found")
    return found[0]


def _make_read_only(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)


def make_writable(top: Path) -> None:
    """Let folders below *top* be removed."""
    for path in top.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
