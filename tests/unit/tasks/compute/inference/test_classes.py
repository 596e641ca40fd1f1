"""The class of a whole image: 0 is one, other classes than the experiment's don't count, and the file says all."""

import math
from pathlib import Path

import pytest
import torch

from configs.wire.answers import ANSWERS, ClassAnswer
from tasks.compute.inference.answers import Structured
from tasks.compute.inference.classes import class_answer
from tasks.compute.loader.channels import match
from tasks.compute.metrics.accuracy import hit
from tasks.compute.metrics.counts import Counts
from tasks.compute.scoring.entropy import class_entropy

OWN = {0: "background", 1: "polyp", 2: "ulcer"}


def test_the_first_class_is_a_label_whatever_it_is_called() -> None:
    channels = match(OWN, OWN, count=3, exclusive=True, kind="class")
    assert not channels.rebuilt
    assert channels.foreground == OWN
    assert channels.channel_of() == {0: 0, 1: 1, 2: 2}
    assert channels.drawn(["polyp"]) == [True, True, True]


def test_other_names_get_a_head_without_background_in_the_order_of_their_indices() -> None:
    channels = match(OWN, {4: "dirty", 0: "clean"}, count=3, exclusive=True, kind="class")
    assert (channels.rebuilt, channels.names, channels.labels) == (True, ("clean", "dirty"), (0, 4))


def test_classes_that_the_experiment_has_not_got_take_no_part_in_the_chances() -> None:
    channels = match(OWN, {7: "ulcer", 3: "Background"}, count=3, exclusive=True, kind="class")
    said = class_answer(torch.tensor([0.0, 99.0, math.log(3)]), channels)
    assert said.index == 7
    assert said.probabilities == pytest.approx({3: 0.25, 7: 0.75})


def test_a_score_is_the_entropy_of_the_classes_and_largest_where_all_are_alike() -> None:
    channels = match(OWN, OWN, count=3, exclusive=True, kind="class")
    assert class_entropy(torch.zeros(3), channels) == pytest.approx(1)
    assert class_entropy(torch.tensor([50.0, 0, 0]), channels) == pytest.approx(0, abs=1e-6)


def test_the_mean_over_images_of_what_was_told_is_the_accuracy() -> None:
    told = [(0, 0), (0, 1), (1, 1), (1, 1)]
    answers = [(torch.tensor(truth == one), torch.tensor(said == one)) for truth, said in told for one in (0, 1)]
    values = [hit(Counts.of(*answer)) for answer in answers]
    found = [value for value in values if value is not None]
    assert len(found) == len(told)
    assert sum(found) / len(found) == 3 / 4


def test_an_answer_is_json_on_its_way_and_a_line_of_csv_at_its_end(tmp_path: Path) -> None:
    answer = Structured(ClassAnswer(index=0, probabilities={1: 0.25, 0: 0.75}), 0.5)
    path = answer.write(tmp_path / "p.nii.gz")
    assert path == tmp_path / "p.json"
    said = ANSWERS.validate_json(path.read_bytes())
    assert isinstance(said, ClassAnswer)
    assert said.row('7,"b"') == '"7,""b""",0.750000,0.250000\n'
