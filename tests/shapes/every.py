"""Every shape by name, with the tier and the reason, or the refusal, that registering finds."""

from collections.abc import Callable

from tests.shapes.answering import regions
from tests.shapes.configured import (
    in_yaml,
    no_training,
    odd_ids,
    opens_files,
    order_reversed,
    own_loop,
    unlike_metadata,
)
from tests.shapes.own_code import own_iteration, own_scripts, own_trainer, with_clicks
from tests.shapes.refused import (
    gone_argument,
    gone_network,
    no_weights,
    optional_package,
    required_package,
    tells_a_class_and_no_word_of_it,
    unknown_package,
)
from tests.shapes.shape import Shape, plain

SERVES: dict[str, tuple[Callable[[], Shape], str, str]] = {
    "plain": (plain, "A", "plain SupervisedTrainer"),
    "yaml": (in_yaml, "A", "plain SupervisedTrainer"),
    "odd_ids": (odd_ids, "A", "plain SupervisedTrainer"),
    "order_reversed": (order_reversed, "A", "plain SupervisedTrainer"),
    "regions": (regions, "A", "plain SupervisedTrainer"),
    "own_scripts": (own_scripts, "A", "plain SupervisedTrainer"),
    "own_trainer": (own_trainer, "B", "Its trainer is scripts.parts.Trainer, which is run as it is"),
    "own_iteration": (own_iteration, "B", "its own iteration_update, which is run as it is"),
    "with_clicks": (with_clicks, "B", "its own iteration_update"),
    "opens_files": (opens_files, "A", "plain SupervisedTrainer"),
    "no_training": (no_training, "C", "no configs/train.json or .yaml: inference only"),
    "own_loop": (own_loop, "C", "no train#trainer: inference only"),
    "unlike_metadata": (unlike_metadata, "A", "plain SupervisedTrainer"),
}
REFUSED: dict[str, tuple[Callable[[], Shape], str]] = {
    "gone_argument": (gone_argument, r"network cannot be built: TypeError: .*'img_size'.*written for MONAI 1\.0\.0"),
    "gone_network": (gone_network, r"network cannot be built: .*NotAnyMore"),
    "unknown_package": (unknown_package, "pip install segment_anything_of_somebody"),
    "optional_package": (optional_package, "pip install not_installed"),
    "required_package": (required_package, "not installed here: pip install no-such-package"),
    "tells_a_class_and_no_word_of_it": (tells_a_class_and_no_word_of_it, r'write "format": "classes"'),
    "no_weights": (no_weights, r"models/model\.pt"),
}
