"""Bundles that cannot even predict, each for a reason of its own."""

from tests.shapes.answering import tells_a_class
from tests.shapes.shape import NETWORK, Shape


def gone_argument() -> Shape:
    """A network whose arguments have changed since (swin_unetr_btcv)."""
    shape = Shape()
    shape.inference["network_def"] = {
        "_target_": "SwinUNETR",
        "img_size": [32] * 3,
        "in_channels": 1,
        "out_channels": 2,
    }
    return shape


def gone_network() -> Shape:
    """A network that this MONAI has not got."""
    shape = Shape()
    shape.inference["network_def"] = {"_target_": "monai.networks.nets.NotAnyMore", "out_channels": 2}
    return shape


def unknown_package() -> Shape:
    """Code that imports what is not installed."""
    files = {"scripts/__init__.py": "", "scripts/parts.py": "import segment_anything_of_somebody\n"}
    shape = Shape(files=files)
    shape.inference["network_def"] = {**NETWORK, "_target_": "scripts.parts.Net"}
    return shape


def optional_package() -> Shape:
    """A part of MONAI that needs a package which is optional to it (lung_nodule_ct_detection, torchvision)."""
    shape = Shape()
    shape.inference["network_def"] = "$monai.utils.optional_import('not_installed.networks', name='Net')[0]()"
    return shape


def required_package() -> Shape:
    """Metadata that require what is not installed."""
    return Shape(metadata={"required_packages_version": {"numpy": "1.0", "no-such-package": "2.0"}})


def no_weights() -> Shape:
    """No weights, and no word that random ones will do."""
    return Shape(metadata={"weights": ""})


def tells_a_class_and_no_word_of_it() -> Shape:
    """The same, where the metadata might be any network's."""
    shape = tells_a_class()
    shape.outputs = {"pred": {"num_channels": 2}}
    return shape
