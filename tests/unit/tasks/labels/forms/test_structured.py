"""Classes that people say, in an experiment's words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from configs.kinds import ClassLabel
from infra.adapters.catalog.tables import Label
from tasks.labels.choosing.learnt import most_said
from tasks.labels.forms.structured import check_structured
from tasks.labels.incoming.names import Names

HERE = Names({0: "in body", 1: "out body"})


def said(folder: Path, content: object) -> Path:
    path = folder / "label.json"
    path.write_text(json.dumps(content))
    return path


def test_class_zero_is_a_class_and_who_names_one_speaks_of_all(tmp_path: Path) -> None:
    found = check_structured(None, said(tmp_path, {"class": 0}), HERE)
    assert (found.quarantine, found.values, found.names) == (None, [0], {0: "in body"})
    assert found.annotated == list(HERE.known.values())


def test_a_class_has_the_experiments_index_of_the_name_that_it_had_when_it_was_said(tmp_path: Path) -> None:
    target = tmp_path / "ours.json"
    found = check_structured(
        None, said(tmp_path, {"class": 3}), HERE, names={3: "Out_body", 1: "other"}, write_to=target
    )
    assert found.values == [1]
    assert ClassLabel.model_validate_json(target.read_bytes()).index == 1


@pytest.mark.parametrize(("index", "names"), [(7, None), (1, {1: "polyp"})])
def test_a_class_that_the_experiment_has_not_got_waits_in_quarantine(
    tmp_path: Path, index: int, names: dict[int, str] | None
) -> None:
    target = tmp_path / "ours.json"
    found = check_structured(None, said(tmp_path, {"class": index}), HERE, names=names, write_to=target)
    assert f"Class {index} is none of the experiment's, which has 0 in body, 1 out body" in str(found.quarantine)
    assert not target.exists()


def test_a_number_that_experiments_call_by_different_names_waits_for_its_name(tmp_path: Path) -> None:
    path, doubtful = said(tmp_path, {"class": 1}), replace(HERE, unsure={1: ["dirty", "out body"]})
    assert "different names" in str(check_structured(None, path, doubtful).quarantine)
    assert check_structured(None, path, doubtful, names={1: "out body"}).quarantine is None


def test_a_class_that_nobody_learns_is_kept_and_says_so(tmp_path: Path) -> None:
    found = check_structured(None, said(tmp_path, {"class": 7}), Names())
    assert found.quarantine is None
    assert "no experiment of the data set learns the class of a whole image" in found.warnings[0]


@pytest.mark.parametrize("index", ["1", "in body", -1, True, 1.5, None, 2**16])
def test_what_is_no_whole_number_is_no_class(tmp_path: Path, index: object) -> None:
    with pytest.raises(InvalidRequestError, match=r'send \{"class": 3\}'):
        check_structured(None, said(tmp_path, {"class": index}), HERE)


def test_of_several_peoples_classes_it_is_what_most_say_and_of_two_the_newer() -> None:
    newest, older, oldest = (Label(names={name: "any"}) for name in ("0", "1", "1"))
    assert most_said([newest, older, oldest]) is older
    assert most_said([newest, older]) is newest
