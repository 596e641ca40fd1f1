"""API keys and bearer tokens."""

from infra.adapters.security.tokens import KEY_PREFIX, hash_secret, matches, new_key, new_token


def test_keys_are_long_and_never_alike() -> None:
    drawn = {new_key() for _ in range(100)} | {new_token() for _ in range(100)}
    assert len(drawn) == 200
    assert all(len(secret) >= 46 for secret in drawn)
    assert new_key().startswith(KEY_PREFIX)


def test_a_key_matches_its_own_hash_only() -> None:
    key = new_key()
    stored = hash_secret(key)
    assert key not in stored
    assert len(stored) == 64
    assert matches(key, stored)
    assert not matches(key + "x", stored)
