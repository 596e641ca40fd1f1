"""Every architecture of the dialect runs the same jobs, as far as its bundle does; others are not offered."""

import pytest

from infra.adapters.catalog.tables import Experiment
from infra.services.learning.archs import NOT_OFFERED, OFFERED
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_ID, Api, make_experiment


def _base(parts: Parts, arch: str) -> str:
    """A base experiment of this architecture, on the bundle of the others."""
    with parts.catalog.write() as session:
        other = session.get_one(Experiment, BASE_ID)
        shown = {"name": arch, "arch": arch, "bundle_id": other.bundle_id, "labels": other.labels}
        base = Experiment(org=None, base=True, lineage=BASE_ID, shown={"version": "1.0.0"}, **shown)
        session.add(base)
        session.flush()
        return base.id


@pytest.mark.parametrize("arch", sorted(OFFERED))
def test_an_offered_architecture_trains_loops_predicts_pauses_and_gives_its_results(
    engineer: Api, parts: Parts, dataset: str, arch: str
) -> None:
    made = make_experiment(engineer, dataset, network_arch=arch, base_experiment=[_base(parts, arch)])
    jobs = f"/experiments/{made['id']}/jobs"

    assert set(made["actions"]) == {"train", "annotation", "inference", "batchinfer"}
    asked = {"train": {"epochs": 1}, "annotation": {"round_size": 1}, "batchinfer": {}}
    ids = {action: engineer.made(jobs, action=action, specs=specs) for action, specs in asked.items()}
    for action, job in ids.items():
        shown = engineer.call("GET", f"{jobs}/{job}").json()
        assert (shown["action"], shown["specs"]) == (action, asked[action])
        assert engineer.call("GET", f"{jobs}/{job}:list_files").json() == []
    for verb, status in (("pause", "Paused"), ("resume", "Resuming"), ("cancel", "Canceled")):
        assert engineer.call("POST", f"{jobs}/{ids['train']}:{verb}").json()["message"].endswith(f"is {status}")


@pytest.mark.parametrize("arch", [*sorted(NOT_OFFERED), "monai_unheard_of"])
def test_any_other_architecture_is_refused_with_those_that_are_offered(engineer: Api, arch: str) -> None:
    refused = engineer.call("POST", "/experiments", json={"network_arch": arch, "base_experiment": [BASE_ID]})

    said = refused.json()["error_desc"]
    assert (refused.status_code, all(name in said for name in OFFERED)) == (400, True)
    assert ("not offered" in said) == (arch in NOT_OFFERED)
