"""A bundle is judged by its own key metric where that is one of ours."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.compute.loader.config import Config
from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import dice
from tasks.compute.metrics.iou import iou
from tasks.compute.metrics.key_metric import key_metric_of


def config(folder: Path, **key_metric: Any) -> Config:
    file = folder / "train.json"
    file.write_text(json.dumps({"validate": {"key_metric": key_metric}}))
    return Config(file, root=folder, overrides={})


def test_an_overlap_of_masks_keeps_its_name(tmp_path: Path) -> None:
    written = config(tmp_path, val_mean_dice={"_target_": "MeanDice", "include_background": False})
    assert key_metric_of(written, exclusive=True) == ("val_mean_dice", dice)
    written = config(tmp_path, val_iou={"_target_": "monai.handlers.MeanIoUHandler", "include_background": False})
    assert key_metric_of(written, exclusive=True) == ("val_iou", iou)


def test_a_head_of_masks_has_no_background_to_count(tmp_path: Path) -> None:
    written = config(tmp_path, val_mean_dice={"_target_": "MeanDice", "include_background": True})
    assert key_metric_of(written, exclusive=False).name == "val_mean_dice"
    assert key_metric_of(written, exclusive=True).name == "mean_dice"


@pytest.mark.parametrize(
    "written", [{"val_accu": {"_target_": "ignite.metrics.Accuracy"}}, {"val_hd": {"_target_": "HausdorffDistance"}}]
)
def test_anything_else_is_replaced_by_the_mean_foreground_dice(tmp_path: Path, written: dict[str, Any]) -> None:
    assert key_metric_of(config(tmp_path, **written), exclusive=True) == ("mean_dice", dice)
    assert key_metric_of(None, exclusive=True) == ("mean_dice", dice)


def test_the_intersection_over_union_of_half_overlapping_masks_is_a_third() -> None:
    reference, predicted = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 1, 0])
    assert iou(Counts.of(reference, predicted)) == pytest.approx(1 / 3)
    assert iou(Counts.of(torch.zeros(3), torch.zeros(3))) is None
