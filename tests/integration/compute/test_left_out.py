"""A case that cannot be read is told and left out of an evaluation, and the host's log says why."""

from pathlib import Path

from configs.wire.host import Case, CaseResult, EvaluateRequest, Failed
from infra.adapters.compute.process import ProcessHosts
from tests.integration.compute.conftest import LABELS, SAMPLE


def test_an_evaluation_goes_on_with_the_other_cases(hosts: ProcessHosts, folder: Path, cases: list[Case]) -> None:
    broken = folder / "broken.nii.gz"
    broken.write_bytes(Path(cases[0].image[0]).read_bytes()[:500])
    asked = [cases[0].model_copy(update={"image": [str(broken)], "id": "broken"}), *cases[5:]]
    request = EvaluateRequest(bundle=str(SAMPLE), cases=asked, labels=LABELS, versions={"one": ""})

    with hosts.start(request, work=folder / "judge", bundle=SAMPLE, threads=1) as host:
        told = [message for message in host.messages() if isinstance(message, CaseResult | Failed)]

    assert isinstance(told[0], Failed)
    assert (told[0].id, told[0].code) == ("broken", "unreadable")
    assert [message.case for message in told if isinstance(message, CaseResult)] == [case.id for case in cases[5:]]
    assert "LoadImage" in (folder / "judge" / "log.txt").read_text()
