"""A parent believes no path and no weights that a host names."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.wire.host import Checkpoint, Prediction, ServeRequest, TrainRequest, TrainResult
from infra.adapters.compute.verify import GoneError, UntrustworthyError, plain_file, verify, verify_weights


def safetensors(path: Path, tensors: dict[str, list[float]]) -> Path:
    """Write float32 vectors in the safetensors format."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = np.array(values, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def train_request(out: Path, weights: Path | None = None) -> TrainRequest:
    return TrainRequest.model_validate(
        {
            "bundle": "b",
            "cases": [{"id": "c", "image": ["i"]}],
            "labels": {1: "spleen"},
            "out": str(out),
            "cache": "c",
            "weights": str(weights) if weights else None,
        }
    )


def test_a_file_within_the_output_folder_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"x")
    assert plain_file(tmp_path, str(tmp_path / "a" / "f")) == tmp_path / "a" / "f"


def test_links_folders_and_paths_outside_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "up").symlink_to(tmp_path)
    for claimed in ("link", "up/secret", "../secret", "folder", "/etc/passwd", "."):
        with pytest.raises(UntrustworthyError):
            plain_file(out, str(out / claimed))
    with pytest.raises(GoneError):
        plain_file(out, str(out / "missing"))


def test_weights_must_be_finite_safetensors_with_the_expected_names(tmp_path: Path) -> None:
    good = safetensors(tmp_path / "good", {"a": [1, 2], "b": [3]})
    verify_weights(safetensors(tmp_path / "new", {"a": [4, 5], "b": [6]}), like=good)
    with pytest.raises(UntrustworthyError, match="NaN"):
        verify_weights(safetensors(tmp_path / "nan", {"a": [1, np.nan], "b": [3]}), like=good)
    with pytest.raises(UntrustworthyError, match="other tensors"):
        verify_weights(safetensors(tmp_path / "other", {"a": [1, 2]}), like=good)
    (tmp_path / "pickle").write_bytes(b"\x80\x04cos\nsystem\n" * 10)
    with pytest.raises(UntrustworthyError, match="not safetensors"):
        verify_weights(tmp_path / "pickle", like=None)
    truncated = good.read_bytes()[:-4]
    (tmp_path / "short").write_bytes(truncated)
    with pytest.raises(UntrustworthyError, match="extent"):
        verify_weights(tmp_path / "short", like=None)


def test_a_message_is_checked_against_what_was_asked(tmp_path: Path) -> None:
    outside = safetensors(tmp_path / "w", {"a": [1.0]})
    out = tmp_path / "out"
    out.mkdir()
    request = train_request(out)
    with pytest.raises(UntrustworthyError, match="outside"):
        verify(TrainResult(weights=str(outside), epoch=1, steps=1, train_s=1), request)
    with pytest.raises(UntrustworthyError, match="does not answer"):
        verify(Prediction(id="p", version="v", path=str(outside), seconds=1), request)
    serve = ServeRequest(bundle="b", labels={1: "spleen"}, out=str(out), cache="c")
    with pytest.raises(UntrustworthyError, match="not there"):
        verify(Prediction(id="p", version="v", path=str(out / "p.nii.gz"), seconds=1), serve)


def test_a_checkpoint_that_a_newer_one_replaced_is_passed_over(tmp_path: Path) -> None:
    assert not verify(Checkpoint(path=str(tmp_path / "1.ckpt"), epoch=1), train_request(tmp_path))
