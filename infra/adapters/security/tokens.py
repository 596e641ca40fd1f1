"""API keys and bearer tokens: random, shown once, known afterwards only by their hash.

Both hold 256 random bits, so a plain SHA-256 is enough: there is nothing to guess and nothing to slow down.
"""

import base64
import hashlib
import hmac
import secrets

KEY_PREFIX = "tb_"
TOKEN_PREFIX = "tbt_"  # noqa: S105 - what a token looks like, not a token
WEBHOOK_PREFIX = "whsec_"
# A working day without a second login; a stolen one ends by itself.
TOKEN_LIFE_S = 24 * 3600
# Hashing is linear in what is sent, before anybody has shown who they are.
MAX_SECRET_CHARS = 1000


def new_key() -> str:
    """Return a fresh API key, `tb_` and 256 bits in URL-safe base 64."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def new_token() -> str:
    """Return a fresh bearer or slot token, `tbt_` and 256 bits in URL-safe base 64."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_webhook_secret() -> str:
    """Return a fresh signing secret of Standard Webhooks: `whsec_` and 256 bits in base 64."""
    return WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def hash_secret(secret: str) -> str:
    """Return the hex SHA-256 under which a key or token is stored and looked up."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def matches(secret: str, stored_hash: str) -> bool:
    """Say whether the secret has this hash, in a time that does not depend on where they differ."""
    return hmac.compare_digest(hash_secret(secret), stored_hash)
