"""Bytes as somebody who means harm would send them: good ones, changed where it hurts."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from configs.errors import TeachbackError

Value = TypeVar("Value")
MOST_BYTES = 2**24
"""What parsers are told that a volume may take, here."""
_SLACK_BYTES = 2**24
_EXTREMES = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\x7f", b"\0\0\0\0", b"\xff", b"9", b"-1 ")


def fuzz(examples: int) -> settings:
    """Return settings under which every run tries the same examples."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=checks)


def damaged(good: bytes, header: int) -> st.SearchStrategy[bytes]:
    """Return the bytes with some overwritten, most of them in the header, and perhaps cut off or gone on."""
    place = st.one_of(st.integers(0, min(header, len(good)) - 1), st.integers(0, len(good) - 1))
    edits = st.lists(st.tuples(place, st.one_of(st.sampled_from(_EXTREMES), st.binary(min_size=1, max_size=4))))
    end = st.one_of(st.none(), st.integers(0, len(good)))
    return st.builds(_applied, st.just(good), edits, end, st.binary(max_size=8))


def _applied(good: bytes, edits: list[tuple[int, bytes]], end: int | None, more: bytes) -> bytes:
    content = bytearray(good)
    for at, new in edits:
        content[at : at + len(new)] = new
    return bytes(content[:end]) + (more if end is None else b"")


def in_bounds(parse: Callable[[], Value]) -> Value | None:
    """Parse: a value, or an error of ours (None); never another, and never more memory than the bound allows."""
    with _memory_bounded(MOST_BYTES + _SLACK_BYTES), suppress(TeachbackError):
        return parse()
    return None


@contextmanager
def _memory_bounded(most_bytes: int) -> Iterator[None]:
    tracemalloc.start(1)
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most_bytes, f"{peak} bytes were taken at once"
