"""Preprocessed tensors are found again by content, and by nothing else."""

from pathlib import Path

import torch
from monai.data import MetaTensor

from tasks.compute.loader.tensors import Item, TensorCache


def made(value: float) -> Item:
    meta = {"original_affine": torch.eye(4) * 2, "spatial_shape": [3, 4, 5]}
    return {"image": MetaTensor(torch.full((1, 2, 2, 2), value), affine=torch.eye(4), meta=meta)}


def test_an_item_comes_back_from_disk_with_its_geometry(tmp_path: Path) -> None:
    file = tmp_path / "a.nii"
    file.write_bytes(b"one")
    TensorCache(tmp_path / "cache", "recipe").get([str(file)], lambda: made(1))
    item = TensorCache(tmp_path / "cache", "recipe").get([str(file)], lambda: made(2))
    assert float(item["image"].max()) == 1
    assert item["image"].meta["original_affine"][0, 0] == 2
    assert item["image"].meta["spatial_shape"].tolist() == [3, 4, 5]


def test_other_content_under_the_same_name_and_another_recipe_are_other_items(tmp_path: Path) -> None:
    file = tmp_path / "a.nii"
    file.write_bytes(b"one")
    cache = TensorCache(tmp_path / "cache", "recipe")
    cache.get([str(file)], lambda: made(1))
    file.write_bytes(b"other")
    assert float(cache.get([str(file)], lambda: made(2))["image"].max()) == 2
    file.write_bytes(b"one")
    assert float(TensorCache(tmp_path / "cache", "new").get([str(file)], lambda: made(3))["image"].max()) == 3


def test_a_file_cut_short_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.nii"
    file.write_bytes(b"one")
    TensorCache(tmp_path / "cache", "recipe").get([str(file)], lambda: made(1))
    for stored in (tmp_path / "cache").rglob("*"):
        if stored.is_file():
            stored.write_bytes(stored.read_bytes()[:100])
    item = TensorCache(tmp_path / "cache", "recipe").get([str(file)], lambda: made(2))
    assert float(item["image"].max()) == 2


def test_an_item_may_be_written_after_it_was_used(tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(b"1")
    cache = TensorCache(tmp_path / "cache", "recipe")
    cache.keep_later = True
    assert float(cache.get([str(file)], lambda: made(1))["image"].max()) == 1
    assert not [*tmp_path.glob("cache/**/*")]
    cache.keep()
    assert float(TensorCache(tmp_path / "cache", "recipe").get([str(file)], lambda: made(2))["image"].max()) == 1
