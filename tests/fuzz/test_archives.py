"""Bundles as archives that lie about their members."""

import tarfile
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InvalidRequestError
from tasks.bundles.unpack import unpack
from tests.fuzz.damage import damaged, fuzz, in_bounds

_NAMES = st.one_of(
    st.sampled_from(
        ["../a", "/etc/x", "a/../../b", "configs/metadata.json", "a\\b", "c:x", ".", "a/", "\0", "a" * 300]
    ),
    st.text(max_size=12),
)


@cache
def _archive(kind: str) -> bytes:
    with BytesIO() as buffer:
        if kind == "zip":
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("b/configs/metadata.json", "{}")
                archive.writestr("b/models/model.pt", bytes(5000))
        else:
            with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tar.gz" else "w") as archive:
                for name in ("configs/metadata.json", "models/model.pt"):
                    member = tarfile.TarInfo(name)
                    member.size = 3000
                    archive.addfile(member, BytesIO(bytes(3000)))
        return buffer.getvalue()


@fuzz(50)
@given(data=st.data(), kind=st.sampled_from(["zip", "tar", "tar.gz"]))
def test_a_damaged_archive(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    good = _archive(kind)
    source = tmp_path / "bundle"
    source.write_bytes(data.draw(damaged(good, header=len(good) if kind == "zip" else 600)))

    in_bounds(lambda: unpack(source, tmp_path / "in" / "bundles"))
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "in"}
    assert {path.name for path in (tmp_path / "in").iterdir()} <= {"bundles"}


@fuzz(50)
@given(names=st.lists(_NAMES, min_size=1, max_size=4))
def test_names_lead_nowhere_else(names: list[str], tmp_path: Path) -> None:
    source = tmp_path / "bundle.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("configs/metadata.json", "{}")
        for name in names:
            try:
                archive.writestr(name, "x")
            except (IndexError, ValueError):
                return  # no archive can say that

    in_bounds(lambda: unpack(source, tmp_path / "in" / "bundles"))
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle.zip", "in"}


def test_what_grows_a_thousandfold_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("configs/metadata.json", "{}")
        archive.writestr("models/model.pt", bytes(2**25))

    with pytest.raises(InvalidRequestError, match="grow"):
        unpack(tmp_path / "bomb.zip", tmp_path / "bundles")
