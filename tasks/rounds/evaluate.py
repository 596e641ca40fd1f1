"""Evaluate: published and challenger on the same cases of today, in one bundle host.

While there are too few evaluation cases the reported metric is prequential: each new training label is predicted by
the published model, which has not seen it, before a finished round has trained on it.
"""

import statistics

from pydantic import BaseModel, ConfigDict

from configs.errors import HostDiedError
from configs.wire.host import Case, CaseResult, EvaluateRequest, Failed
from infra.adapters.catalog.tables import Experiment, ModelVersion
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.publishing.gate import CaseScore, PairedCase
from tasks.rounds.result import MetricKind, VersionScores
from tasks.rounds.snapshot import SnapshotRow
from tasks.rounds.train import tensor_cache, weights_file
from tasks.rounds.work import Claim, Lease, Work, cases_of, mark_step, open_work, read_snapshot, step_done

STEP = "evaluate"
AGAIN = "evaluate-2"
MOST_PREQUENTIAL = 20


class Evaluation(BaseModel):
    """What was measured; the blob of the step's mark. Case id → score."""

    model_config = ConfigDict(frozen=True)

    published: str | None
    challenger: str
    held_out: list[str]
    prequential: list[str]
    published_scores: dict[str, CaseScore]
    challenger_scores: dict[str, CaseScore]

    def pairs(self) -> list[PairedCase]:
        """Return both versions on the held-out cases."""
        return [
            PairedCase(case=case, published=self.published_scores[case], challenger=self.challenger_scores[case])
            for case in self.held_out
        ]

    def trained_on(self) -> list[CaseScore]:
        """Return the challenger on training cases."""
        return [self.challenger_scores[case] for case in self.prequential]

    def metric(self, min_cases: int) -> tuple[MetricKind, list[str]]:
        """Return what the key metric is, and the cases that it is over."""
        if len(self.held_out) >= min_cases or not self.prequential:
            return "holdout", self.held_out
        return "prequential", self.prequential

    def summary(self, version: str | None, scores: dict[str, CaseScore], cases: list[str]) -> VersionScores:
        """Return one version's means over some cases."""
        chosen = [scores[case] for case in cases]
        names = sorted({name for score in chosen for name in score.per_label})
        per_label = {name: _mean([score.per_label.get(name) for score in chosen]) for name in names}
        return VersionScores(version=version, mean=_mean([score.mean for score in chosen]), per_label=per_label)


def evaluate(parts: Parts, held: Claim, lease: Lease, snapshot_sha256: str, challenger: str) -> str:
    """Score challenger and published version, and return the evaluation's hash.

    Raises:
        SupersededError: If the attempt may no longer write.
        HostError: If the bundle fails on a case.
        StoreError: If an image cannot be read now.
    """
    done = step_done(parts, held, STEP)
    if done is not None:
        return done
    return _evaluate(parts, held, lease, snapshot_sha256, challenger, STEP)


def evaluate_again(parts: Parts, held: Claim, lease: Lease, snapshot_sha256: str, challenger: str) -> str:
    """As `evaluate`, once more, since another version was published meanwhile."""
    done = step_done(parts, held, AGAIN)
    return done or _evaluate(parts, held, lease, snapshot_sha256, challenger, AGAIN)


def read_evaluation(parts: Parts, sha256: str) -> Evaluation:
    """Read an evaluation."""
    return Evaluation.model_validate_json(parts.blobs.read_bytes(sha256))


def _evaluate(parts: Parts, held: Claim, lease: Lease, snapshot_sha256: str, challenger: str, step: str) -> str:
    work, snapshot = open_work(parts, held), read_snapshot(parts, snapshot_sha256)
    with parts.catalog.read() as session:
        published = session.get_one(Experiment, work.experiment_id).published_version
        versions = {
            version: weights_file(parts, session.get(ModelVersion, version))
            for version in filter(None, (published, challenger))
        }
    held_out = snapshot.side("evaluate")
    prequential = _prequential(snapshot.side("train", "validate"), len(held_out), work.spec.gate.min_cases)
    with parts.cache.pin() as pin:
        cases = cases_of(parts, work, [*held_out, *prequential], pin)
        results = _measure(parts, work, lease, step, cases, versions) if cases else []
    measured = {case.id for case in cases}
    evaluation = Evaluation(
        published=published,
        challenger=challenger,
        held_out=[str(row.image) for row in held_out if str(row.image) in measured],
        prequential=[str(row.image) for row in prequential if str(row.image) in measured],
        published_scores=_scores(results, published or ""),
        challenger_scores=_scores(results, challenger),
    )
    sha256 = parts.blobs.put_bytes(evaluation.model_dump_json().encode())
    mark_step(parts, held, step, sha256)
    return sha256


def _measure(
    parts: Parts, work: Work, lease: Lease, step: str, cases: list[Case], versions: dict[str, str]
) -> list[CaseResult]:
    """Have a bundle host score every version on every case."""
    request = EvaluateRequest(
        bundle=str(work.bundle),
        cases=cases,
        labels=work.labels,
        versions=versions,
        cache=str(tensor_cache(parts, work.bundle_id)),
    )
    results: list[CaseResult] = []
    with (
        parts.hosts.start(request, work=work.host_folder(step), bundle=work.bundle) as host,
        lease.calls(host.kill),
    ):
        for message in host.messages():
            if isinstance(message, Failed):
                raise error_of(message)
            if isinstance(message, CaseResult):
                results.append(message)
    if len(results) != len(cases) * len(versions):
        raise HostDiedError(f"{len(results)} of {len(cases) * len(versions)} results came.")
    return results


def _prequential(training: list[SnapshotRow], held_out: int, wanted: int) -> list[SnapshotRow]:
    """Return new training cases while evaluation cases are too few; some old one where nothing is new."""
    if held_out >= wanted:
        return []
    fresh = [row for row in training if row.fresh]
    return (fresh or training[:1])[:MOST_PREQUENTIAL]


def _scores(results: list[CaseResult], version: str) -> dict[str, CaseScore]:
    return {
        result.case: CaseScore(per_label=result.per_label, mean=result.mean, empty=result.empty, finite=result.finite)
        for result in results
        if result.version == version
    }


def _mean(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None
