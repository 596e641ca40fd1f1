"""Bundles whose answer is no plain mask: regions that contain each other, a class, boxes."""

from copy import deepcopy

from tests.shapes import boxes
from tests.shapes.shape import BOTH, INVERT, LOAD, SAVE, SIZE, WINDOWS, Shape


def regions() -> Shape:
    """Overlapping regions by sigmoid over images of several files, a list of data that is not there (brats_mri)."""
    regions = {"0": "tumour core", "1": "whole tumour", "2": "enhancing tumour"}
    shape = Shape(
        outputs={"pred": {"num_channels": 3, "channel_def": regions}},
        inputs={"image": {"num_channels": 4, "spatial_shape": ["8*n"] * 3}},
    )
    for made in shape.both():
        made["network_def"] |= {"in_channels": 4, "out_channels": 3}
        made["data_list_file_path"] = "$@bundle_root + '/configs/datalist.json'"
        made["images"] = "$monai.data.load_decathlon_datalist(@data_list_file_path)"
        made["network_def"] |= {"channels": [16, 32], "num_res_units": 0}
    sigmoid = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
    threshold = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    joined = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    join = {"_target_": "Lambdad", "keys": "pred", "func": joined}
    normal = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    shape.inference["preprocessing"]["transforms"] = [LOAD[0], normal]
    shape.inference["postprocessing"]["transforms"] = [sigmoid, INVERT, threshold, join, SAVE]
    assert shape.train is not None
    convert = {"_target_": "ConvertToMultiChannelBasedOnBratsClassesd", "keys": "label"}
    shape.train["train"]["preprocessing"]["transforms"] = [BOTH[0], convert, normal]
    shape.train["validate"]["preprocessing"]["transforms"] = [BOTH[0], convert, normal]
    shape.train["loss"] = {"_target_": "DiceLoss", "sigmoid": True}
    shape.train["validate"]["postprocessing"]["transforms"] = [sigmoid, threshold]
    return shape


def of_pictures() -> Shape:
    """A mask of a 2-D picture in colours (endoscopic_tool_segmentation)."""
    shape = Shape(
        inputs={"image": {"num_channels": 3, "spatial_shape": ["8*n"] * 2}},
        outputs={"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "disc"}}},
    )
    for made in shape.both():
        made["network_def"] |= {"spatial_dims": 2, "in_channels": 3}
    windows = {**WINDOWS, "roi_size": [SIZE] * 2}
    shape.inference["inferer"] = windows
    assert shape.train is not None
    shape.train["validate"]["inferer"] = windows
    return shape


def tells_a_class() -> Shape:
    """A class of a whole 2-D image (endoscopic_inbody)."""
    shape = Shape(
        inputs={"image": {"num_channels": 3, "spatial_shape": [32, 32]}},
        outputs={"pred": {"type": "probabilities", "format": "classes", "num_channels": 2, "spatial_shape": [1, 2]}},
    )
    network = {"_target_": "SEResNet50", "spatial_dims": 2, "in_channels": 3, "num_classes": 2}
    for made in shape.both():
        made |= {"network_def": network, "inferer": {"_target_": "SimpleInferer"}}
    return shape


def finds_boxes() -> Shape:
    """Boxes, by a detector around the network, with trainer, evaluator and metric (lung_nodule_ct_detection)."""
    shape = Shape(
        inference={**boxes.DETECTOR, "preprocessing": {"_target_": "Compose", "transforms": LOAD}},
        train={**boxes.DETECTOR, **boxes.TRAINING},
        outputs={"pred": {"type": "object", "format": "dict", "num_channels": 1, "channel_def": {"0": "nodule"}}},
        inputs={"image": {"num_channels": 1, "spatial_shape": [24] * 3}},
        files={"scripts/__init__.py": "", "scripts/detection.py": boxes.SCRIPTS},
    )
    shape.inference["inferer"] = {"_target_": "scripts.detection.DetectorInferer", "detector": "@detector"}
    return deepcopy(shape)


def finds_boxes_in_voxels() -> Shape:
    """Boxes, and a training that takes them in voxels: it could not be told where they lie."""
    shape = finds_boxes()
    assert shape.train is not None
    for side in ("train", "validate"):
        shape.train[side]["preprocessing"]["transforms"].pop()
    return shape
