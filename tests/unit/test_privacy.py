"""What looks for pixels finds them, however they are written."""

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.privacy import pixels

VOLUME = np.random.default_rng(0).integers(0, 2000, (16, 18, 20), dtype=np.int16)
Plants = Callable[[Path], Any]


def _artifact(name: str, content: bytes) -> Plants:
    def plant(home: Path) -> None:
        path = home / "mlflow" / "artifacts" / "1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return plant


def _row(value: object) -> Plants:
    def plant(home: Path) -> None:
        with sqlite3.connect(home / "prefect" / "prefect.db") as database:
            database.execute("INSERT INTO artifact VALUES (?)", (value,))

    return plant


FORMS: dict[str, Plants] = {
    "a file by its name": _artifact("volume.npy", b"whatever"),
    "a picture by another name": _artifact("plot", b"\x89PNG\r\n\x1a\n"),
    "a packed NIfTI by another name": _artifact("data", gzip.compress(nib.Nifti1Image(VOLUME, np.eye(4)).to_bytes())),
    "raw voxels within a file": _artifact("model.bin", b"head" + VOLUME.astype(np.float32).tobytes()),
    "numbers in a table": _row(json.dumps(VOLUME.tolist())),
    "base64 in a result": _row(json.dumps({"data": base64.b64encode(b"x" + VOLUME.tobytes()).decode()})),
    "bytes in a column": _row(VOLUME.astype(np.float64).tobytes()),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What the two have written where all is well."""
    for folder in ("prefect", "mlflow"):
        (tmp_path / folder).mkdir()
    with sqlite3.connect(tmp_path / "prefect" / "prefect.db") as database:
        database.execute("CREATE TABLE artifact (data)")
        database.execute("INSERT INTO artifact VALUES (?)", (json.dumps([{"image": 12, "mean": 0.81}]),))
    _artifact("weights.safetensors", np.random.default_rng(1).normal(size=500).astype(np.float32).tobytes())(tmp_path)
    return tmp_path


def test_where_there_is_none_none_is_found(home: Path) -> None:
    assert pixels(home, [VOLUME]) == []


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_found(home: Path, form: str) -> None:
    FORMS[form](home)
    assert pixels(home, [VOLUME]) != []
