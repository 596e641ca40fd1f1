"""Bundles that differ in how their configurations are written."""

from tests.shapes.shape import ARGMAX, INVERT, SAVE, SOFTMAX, WINDOWS, Shape


def in_yaml() -> Shape:
    """As six of the zoo's."""
    return Shape(as_yaml=True)


def odd_ids() -> Shape:
    """Older ids, names of outputs in the configuration alone, a network that only the evaluator names."""
    shape = Shape(outputs={"pred": {"num_channels": 2, "channel_def": {}}})
    made = shape.inference
    made["pre_transforms"], made["post_transforms"] = made.pop("preprocessing"), made.pop("postprocessing")
    made["post_transforms"]["transforms"][1]["transform"] = "@pre_transforms"
    made["dataset"]["transform"] = "@pre_transforms"
    made["net"] = made.pop("network_def")
    del made["network"]
    made["evaluator"]["network"] = "$@net.to(@device)"
    made["label_names"] = {"tumour": 1, "background": 0}
    return shape


def order_reversed() -> Shape:
    """Decides before it inverts, takes its windows from `displayable_configs`, types before channels (wholeBody_ct)."""
    shape = Shape()
    made = shape.inference
    made["displayable_configs"] = {"highres": True, "sw_overlap": 0.25}
    made["inferer"] = {**WINDOWS, "overlap": "@displayable_configs#sw_overlap"}
    made["preprocessing"]["transforms"].insert(1, {"_target_": "EnsureTyped", "keys": "image"})
    made["postprocessing"]["transforms"] = [SOFTMAX, ARGMAX, {**INVERT, "nearest_interp": True}, SAVE]
    return shape


def opens_files() -> Shape:
    """Opens files when they are named, and closes them in `finalize` (endoscopic_inbody)."""
    shape = Shape()
    made = shape.inference
    made["test_fp"] = "$open(@bundle_root + '/label/test_samples.json', 'r', encoding='utf8')"
    made["data_list"] = "$json.load(@test_fp)"
    made["dataset"]["data"] = "@data_list"
    made["finalize"] = ["$@test_fp.close()"]
    return shape


def no_training() -> Shape:
    """Only infers."""
    return Shape(train=None)


def own_loop() -> Shape:
    """A loop written by hand (mednist_reg, valve_landmarks)."""
    shape = Shape()
    assert shape.train is not None
    shape.train = {**shape.train, "train": {"crop": 1}, "run": ["$scripts.train(@network)"]}
    return shape


def unlike_metadata() -> Shape:
    """Metadata that say one channel, and name many (vista3d); spatial shapes and names of another form."""
    named = {str(channel): f"class {channel}" for channel in range(1, 134)} | {"all": "everything"}
    shape = Shape(
        outputs={"pred": {"num_channels": "one", "channel_def": named, "spatial_shape": "any"}},
        metadata={"required_packages_version": ["numpy"], "monai_version": "1.4.0"},
    )
    shape.inputs["image"]["spatial_shape"] = [["8*n"], None]
    return shape
