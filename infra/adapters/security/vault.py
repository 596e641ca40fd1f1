"""Values at rest: AES-256-GCM under a key ring that lives in one file of mode 600.

Every ciphertext is bound to its organisation and row, so one that is moved to another row does not open. The ring
also holds a key that is never rotated, for hashes that have to stay the same for ever (a patient's).
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.durable import sync_folder, written
from configs.errors import CorruptError, InvalidRequestError
from infra.adapters.security.redact import Redactor

_KEY_BYTES, _NONCE_BYTES = 32, 12


class Sealed(BaseModel):
    """An encrypted value and the id of the key that made it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_id: str
    ciphertext: bytes = Field(description="12 bytes of nonce, then ciphertext and tag.")


class _Ring(BaseModel):
    """The file's content: keys in URL-safe base 64; the last one seals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: dict[str, str] = Field(min_length=1)
    hash_key: str

    @classmethod
    def fresh(cls) -> Self:
        """Draw a ring of one key."""
        return cls(keys={_new_key_id(): _draw()}, hash_key=_draw())

    @property
    def newest(self) -> str:
        """The id of the key that seals."""
        return list(self.keys)[-1]


class Vault:
    """Seals and opens values with the key ring of one file, which is made at first use.

    Args:
        path: The key file.
        redactor: Is told every value that is opened, so that no log line shows it.
    """

    def __init__(self, path: Path, *, redactor: Redactor | None = None) -> None:
        self._path = path
        self._redactor = redactor
        self._ring: _Ring | None = None
        self._version: tuple[int, int, int] | None = None

    def seal(self, org: str, plaintext: str, row_id: str) -> Sealed:
        """Encrypt a value for one row of one organisation."""
        ring = self._load()
        # Drawn for each value: with GCM two values under one nonce give both away.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = AESGCM(_decode(ring.keys[ring.newest]))
        return Sealed(
            key_id=ring.newest, ciphertext=nonce + cipher.encrypt(nonce, plaintext.encode(), _bound_to(org, row_id))
        )

    def open(self, org: str, sealed: Sealed, row_id: str) -> str:
        """Decrypt a row's value.

        Raises:
            InvalidRequestError: If its key is not in the ring.
            CorruptError: If it was changed, or belongs to another row or organisation.
        """
        key = self._key(sealed.key_id)
        nonce, body = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            plaintext = AESGCM(key).decrypt(nonce, body, _bound_to(org, row_id)).decode()
        except (InvalidTag, ValueError):
            msg = f"The encrypted value of row {row_id} does not open: it was changed, or moved here from another row"
            raise CorruptError(msg) from None
        if self._redactor is not None:
            self._redactor.learn_document(plaintext)
        return plaintext

    def keyed_hash(self, org: str, text: str) -> str:
        """Return the hex HMAC-SHA-256 of a text: the same for ever in one organisation; a rotation leaves it."""
        hash_key = _decode(self._load().hash_key)
        return hmac.new(hash_key, _bound_to(org, text), hashlib.sha256).hexdigest()

    def rotate(self, *, keep: Collection[str] | None = None) -> str:
        """Add a key that seals from now on; older ones go on opening. Returns its id.

        Args:
            keep: Ids of older keys that something is sealed with; the newest stays in any case. None = all.
        """
        ring = self._load()
        key_id = _new_key_id()
        kept = {known: key for known, key in ring.keys.items() if keep is None or known in {*keep, ring.newest}}
        fresh = ring.model_copy(update={"keys": {**kept, key_id: _draw()}})
        with written(self._path, mode=0o600) as file:
            file.write(fresh.model_dump_json().encode())
        return key_id

    def _key(self, key_id: str) -> bytes:
        ring = self._load()
        if key_id not in ring.keys:
            msg = f"The key {key_id!r} is not in this machine's key file: give it the key file of the installation"
            raise InvalidRequestError(msg)
        return _decode(ring.keys[key_id])

    def _load(self) -> _Ring:
        """Return the ring as the file has it now: another process may have rotated."""
        if not self._path.exists():
            _create(self._path, _Ring.fresh())
        found = self._path.stat()
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._ring is None or version != self._version:
            self._ring, self._version = _read(self._path), version
        return self._ring


def copy_ring(source: Path, target: Path) -> None:
    """Make *target* a copy of a key file, if there is none yet.

    Raises:
        CorruptError: If *source* is no key file.
        InvalidRequestError: If others may read it.
    """
    _create(target, _read(source))


def _create(path: Path, ring: _Ring) -> None:
    """Make the key file whole or not at all; whoever comes second takes what is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    waiting = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with written(waiting, mode=0o600) as file:
        file.write(ring.model_dump_json().encode())
    try:
        # A link and no rename: of two processes that start at once, the second must not replace the first one's keys.
        os.link(waiting, path)
    except FileExistsError:
        return
    finally:
        waiting.unlink()
    # Before anything is sealed with it: what a power cut would leave sealed without its key is lost for ever.
    sync_folder(path.parent)


def _read(path: Path) -> _Ring:
    mode = stat.S_IMODE(path.stat().st_mode)
    # A mounted Kubernetes secret is group-readable by its fsGroup; nobody else may read the keys.
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        msg = f"The key file has mode {mode:o}, so others may read or change it: run chmod 600 on TEACHBACK_KEY_FILE"
        raise InvalidRequestError(msg)
    try:
        return _Ring.model_validate_json(path.read_bytes())
    except ValidationError:
        raise CorruptError("The key file cannot be read as a key ring: restore it from the backup") from None


def _bound_to(org: str, row_id: str) -> bytes:
    return json.dumps([org, row_id]).encode()


def _new_key_id() -> str:
    return secrets.token_hex(8)


def _draw() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _decode(key: str) -> bytes:
    return base64.urlsafe_b64decode(key)
