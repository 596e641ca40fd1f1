"""What a server may answer: multipart and JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from configs.errors import StoreError
from infra.adapters.images.multipart import boundary_of, parts_of
from infra.adapters.images.web_errors import translated
from tasks.images.verdict import volume_of
from tasks.labels.forms.structured import read_structured
from tests.fuzz.damage import damaged, fuzz, in_bounds

pytestmark = pytest.mark.filterwarnings("ignore")
BOUNDARY = b"a-b"
_BODIES = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"\r\n", b"\r\n--", b"--a-b", b"\r\n--a-"])))


def _message(bodies: list[bytes], head: bytes) -> bytes:
    parts = b"".join(b"\r\n--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + body for body in bodies)
    return parts[2:] + b"\r\n--" + BOUNDARY + b"--\r\n"


def _cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@fuzz(60)
@given(bodies=_BODIES.filter(bool), size=st.integers(1, 70), head=st.sampled_from([b"X: y", b"Content-Type: a/b"]))
def test_parts_are_the_same_however_they_come(bodies: list[bytes], size: int, head: bytes) -> None:
    sent = [body for body in bodies if b"\r\n--" + BOUNDARY not in b"\r\n" + body]

    found = [b"".join(part) for part in parts_of(_cut(_message(sent, head), size), BOUNDARY)] if sent else []

    assert found == sent


@fuzz(60)
@given(content=damaged(_message([b"one", b"", b"three" * 9], b"X: y"), header=40), size=st.integers(1, 50))
def test_a_damaged_message_is_read_or_refused(content: bytes, size: int) -> None:
    in_bounds(lambda: [b"".join(part) for part in parts_of(_cut(content, size), BOUNDARY)])


def test_a_header_without_end_is_refused() -> None:
    endless = (b"x" * 1000 for _ in range(10**9))
    with pytest.raises(StoreError):
        next(parts_of(_then(b"--a-b\r\n", endless), BOUNDARY))


def _then(first: bytes, more: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from more


@fuzz(60)
@given(
    text=st.one_of(st.text(max_size=60), st.text(max_size=30).map(lambda rest: f"multipart/related; boundary={rest}"))
)
def test_any_content_type(text: str) -> None:
    in_bounds(lambda: boundary_of(text))


_TAGS = st.sampled_from(["00280010", "00280011", "00200032", "00200037", "00280030", "52009230", "00080008", "zz", ""])
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("9" * 400)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.fixed_dictionaries({"vr": st.sampled_from(["US", "DS", "SQ", "CS", "OB", "??"]), "Value": inner}),
        st.dictionaries(_TAGS, inner, max_size=4),
    ),
    max_leaves=12,
)


@fuzz(60)
@given(told=st.lists(st.dictionaries(_TAGS, _JSON, max_size=6), max_size=3))
def test_dicom_json(told: list[dict[str, object]]) -> None:
    def read() -> None:
        with translated(one_image=True):
            headers = [Dataset.from_json(one, bulk_data_uri_handler=lambda *_: b"") for one in told]
        volume_of(headers)

    in_bounds(read)


@fuzz(60)
@given(value=_JSON, cut=st.integers(0, 400))
def test_a_label_in_json(value: object, cut: int, tmp_path: Path) -> None:
    texts = (json.dumps(value), json.dumps({"boxes": value, "classes": value}), json.dumps({"class": value})[:cut])
    for text in (*texts, "[" * 10_000, '{"boxes":' * 5000):
        (tmp_path / "label.json").write_text(text)
        in_bounds(lambda: read_structured(tmp_path / "label.json"))
