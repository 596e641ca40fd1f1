"""Organisations, keys, tokens and what the vault keeps."""

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from infra.adapters.catalog.tables.base import HASH, ID, NAME, STATE, Base, new_id, now


class Organisation(Base):
    """A tenant: nothing of one is visible to another. The id is free text."""

    __tablename__ = "organisation"

    id: Mapped[str] = mapped_column(NAME, primary_key=True)
    created_at: Mapped[float] = mapped_column(default=now())


class ApiKey(Base):
    """A key: shown once, stored hashed, revocable."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    name: Mapped[str] = mapped_column(NAME)
    role: Mapped[str] = mapped_column(STATE)
    secret_hash: Mapped[str] = mapped_column(HASH, unique=True)
    created_at: Mapped[float] = mapped_column(default=now())
    used_at: Mapped[float | None]  # to the hour: a row that every request writes would be in every request's way
    revoked_at: Mapped[float | None]


class BearerToken(Base):
    """What `login` gives for a key; ends by itself, and with its key."""

    __tablename__ = "bearer_token"

    token_hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_key.id"), index=True)
    until: Mapped[float] = mapped_column(index=True)


class VaultValue(Base):
    """An encrypted value; its row's identity is bound into the ciphertext."""

    __tablename__ = "vault_value"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(NAME)
    key_id: Mapped[str] = mapped_column(String(64))
    ciphertext: Mapped[bytes]
    created_at: Mapped[float] = mapped_column(default=now())
