"""What an app's code and its `--conf` may say, and what is refused before anything of it runs."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.compute.apps.interfaces import App, InferTask
from tasks.compute.apps.load import KEYS, load, models_of, orders_of, strategies_of
from tasks.compute.failures import BadInputError, BundleFaultError
from tests.apps.guide_004.app import MyApp

TEMPLATES = Path(__file__).parents[5] / "bundles" / "apps"
GUIDE = Path(sys.modules[MyApp.__module__].__file__ or "").parent
Written = Callable[[str], App]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """The guide's app with something added before its last line."""

    def write(more: str) -> App:
        text, last, _ = (GUIDE / "app.py").read_text().rpartition("app = MyApp")
        (tmp_path / "app.py").write_text(f"{text}{more}\n{last}\n")
        return load(tmp_path, {})

    return write


def test_models_are_chosen_by_name() -> None:
    assert list(models_of(load(GUIDE, {"models": "segmentation_spleen"}))) == ["segmentation_spleen"]
    with pytest.raises(BadInputError, match="no model 'liver'; it has segmentation_spleen"):
        models_of(load(GUIDE, {"models": "segmentation_spleen,liver"}))


def test_the_template_takes_labels_with_spaces_behind_their_commas() -> None:
    model = models_of(load(TEMPLATES / "radiology", {"labels": "liver, tumour,"}))["segmentation"]
    assert isinstance(model.infer, InferTask)
    assert model.infer.labels == ["liver", "tumour"]


def test_folders_of_bundles_may_have_a_version_in_their_names(tmp_path: Path) -> None:
    shutil.copyfile(TEMPLATES / "bundle" / "app.py", tmp_path / "app.py")
    with pytest.raises(BundleFaultError, match="returns no model"):
        models_of(load(tmp_path, {}))
    folder = tmp_path / "bundles" / "spleen_v0.5.3" / "configs"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text("{}")
    assert list(models_of(load(tmp_path, {}))) == ["spleen_v0_5_3"]


def test_a_name_that_no_bundle_can_have_is_refused_with_what_it_may_have(written: Written) -> None:
    with pytest.raises(BundleFaultError, match=r"init_infers: 'a\.b' is no name; take letters, digits"):
        models_of(written("del MyApp.init_trainers; MyApp.init_infers = lambda _: {'a.b': MyInfer(_unet, labels=[])}"))


def test_too_many_strategies_are_refused_with_how_many_there_may_be(written: Written) -> None:
    app = written("MyApp.init_strategies = lambda self: {f's{n}': Strategy() for n in range(51)}")
    with pytest.raises(BundleFaultError, match="init_strategies returns 51, and an app may have 50"):
        strategies_of(app)


def test_a_bundle_with_a_conf_json_of_its_own_is_no_app(tmp_path: Path) -> None:
    (tmp_path / "conf.json").write_text("[1]")
    assert orders_of(tmp_path).strategies == {}


def test_a_key_that_the_app_does_not_take_is_refused_with_those_that_it_takes() -> None:
    with pytest.raises(BadInputError, match=r"takes no --conf modles. It takes: models \(.*use_pretrained_model"):
        load(GUIDE, {"modles": "segmentation_spleen"})


@pytest.mark.parametrize("key", [key for key in KEYS if key != "models"])
def test_a_value_that_means_nothing_is_refused_whoever_would_read_it(key: str) -> None:
    with pytest.raises(BadInputError, match=f"--conf {key} is 'perhaps'"):
        load(GUIDE, {key: "perhaps"})


@pytest.mark.parametrize("name", ["iteration_update", "lr_scheduler_handler", "__call__"])
def test_a_training_that_overrides_what_nothing_calls_is_refused_by_its_name(written: Written, name: str) -> None:
    app = written(f"MyTrainTask.{name} = lambda self, *args: None")
    with pytest.raises(BundleFaultError, match=f"MyTrainTask overrides {name}, .*optimizer"):
        models_of(app)


def test_what_is_its_own_begins_with_an_underscore(written: Written) -> None:
    assert models_of(written("MyTrainTask._mine = lambda self: None"))


def test_a_training_of_no_model_is_refused(written: Written) -> None:
    app = written("MyApp.init_trainers = lambda self: {'liver': MyTrainTask()}")
    with pytest.raises(BundleFaultError, match=r"names 'liver', .* one of segmentation_spleen"):
        models_of(app)


def test_code_that_fails_is_told_without_places_of_this_machine(written: Written, tmp_path: Path) -> None:
    with pytest.raises(BundleFaultError, match=r"app.py cannot be read: KeyError") as told:
        written(f"raise KeyError({str(tmp_path)!r})")
    assert str(tmp_path) not in str(told.value)


def test_an_app_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(BundleFaultError, match=r"no app.py: `teachback apps new`"):
        load(tmp_path, {})
    (tmp_path / "app.py").write_text("app = 3\n")
    with pytest.raises(BundleFaultError, match=r"end it with `app = MyApp`"):
        load(tmp_path, {})
