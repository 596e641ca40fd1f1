"""Evaluate: published and challenger on the same cases of today, in one bundle host.

A case that a version was measured on before, with the same image and label, is not run again.

While there are too few evaluation cases the reported metric is prequential: each new training label is predicted by
the published model, which has not seen it, before a round trains on it for the first time.
"""

import statistics
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from configs.errors import HostDiedError
from configs.wire.host import CaseResult, EvaluateRequest, Failed
from infra.adapters.cache.disk import Pin
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Experiment, ModelVersion
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.devices.hold import computing
from tasks.devices.needs import batch_need
from tasks.publishing.gate import CaseScore, PairedCase
from tasks.rounds.measured import Measured, Version
from tasks.rounds.result import MetricKind, VersionScores
from tasks.rounds.snapshot import SnapshotRow
from tasks.rounds.train import tensor_cache, weights_file
from tasks.rounds.work import Claim, Lease, Work, cases_of, mark_step, open_work, read_snapshot, step_done

STEP = "evaluate"
AGAIN = "evaluate-2"
MOST_PROVING = 20
"""Training cases on which a challenger shows that it works at all, where there is no evaluation case."""


class Evaluation(BaseModel):
    """What was measured; the blob of the step's mark. Case id → score.

    Attributes:
        held_out: Evaluation cases; both versions were scored on them.
        prequential: Training cases that no round has trained on before this one; the published version's.
        proving: Training cases, only where there is no evaluation case; the challenger's.
        cohorts: Of the evaluation cases.
        reused: Scores that had been measured before.
    """

    model_config = ConfigDict(frozen=True)

    published: str | None
    challenger: str
    held_out: list[str]
    prequential: list[str]
    proving: list[str] = []
    cohorts: dict[str, str] = {}
    published_scores: dict[str, CaseScore]
    challenger_scores: dict[str, CaseScore]
    reused: int = 0

    def pairs(self) -> list[PairedCase]:
        """Return both versions on the held-out cases."""
        return [
            PairedCase(case=case, published=self.published_scores[case], challenger=self.challenger_scores[case])
            for case in self.held_out
            if case in self.published_scores
        ]

    def trained_on(self) -> list[CaseScore]:
        """Return the challenger on training cases."""
        return [self.challenger_scores[case] for case in self.proving]

    def metric(self, min_cases: int) -> tuple[MetricKind, list[str]]:
        """Return what the key metric is, and the cases that it is over."""
        held_out = [case for case in self.held_out if self._has_value(case)]
        if len(held_out) >= min_cases:
            return "holdout", held_out
        return "prequential", [case for case in self.prequential if self._has_value(case)]

    def _has_value(self, case: str) -> bool:
        """Say whether there was anything to find in the case."""
        score = self.published_scores.get(case) or self.challenger_scores.get(case)
        return score is not None and score.mean is not None

    def metric_name(self) -> str:
        """Return what the bundle calls its key metric, or what we call ours."""
        scores = [*self.challenger_scores.values(), *self.published_scores.values()]
        return scores[0].metric if scores else ""


def summary(version: str | None, scores: Mapping[str, CaseScore], cases: Iterable[str]) -> VersionScores:
    """Return one version's means over those of the cases that it was scored on."""
    chosen = [scores[case] for case in cases if case in scores]
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
    """As `evaluate`, once more, since another version was published meanwhile; what was measured is not run again."""
    done = step_done(parts, held, AGAIN)
    return done or _evaluate(parts, held, lease, snapshot_sha256, challenger, AGAIN)


def read_evaluation(parts: Parts, sha256: str) -> Evaluation:
    """Read an evaluation."""
    return Evaluation.model_validate_json(parts.blobs.read_bytes(sha256))


def _evaluate(parts: Parts, held: Claim, lease: Lease, snapshot_sha256: str, challenger: str, step: str) -> str:
    work, snapshot = open_work(parts, held), read_snapshot(parts, snapshot_sha256)
    with parts.catalog.read() as session:
        published = _compared_with(parts, session, work)
        versions = [
            Version(id=version, weights=row.weights, file=weights_file(parts, row))
            for version in dict.fromkeys(filter(None, (published, challenger)))
            if (row := session.get_one(ModelVersion, version))
        ]
    both = [version.id for version in versions]
    measured = Measured(parts, work, versions)
    with parts.cache.pin() as pin:
        held_out = _ready(parts, work, pin, measured, snapshot.side("evaluate"), both)
        training = snapshot.side("train", "validate")
        fresh, proving = list[SnapshotRow](), list[SnapshotRow]()
        if len(held_out) < work.spec.gate.min_cases and published is not None:
            new = [row for row in training if row.fresh]
            fresh = _ready(parts, work, pin, measured, new, [published])
        if not held_out:
            proving = _ready(parts, work, pin, measured, training[:MOST_PROVING], [challenger])
        if measured.asked:
            measured.keep(_run(parts, work, lease, step, measured))
    evaluation = Evaluation(
        published=published,
        challenger=challenger,
        held_out=[row.case for row in held_out],
        prequential=[row.case for row in fresh],
        proving=[row.case for row in proving],
        cohorts={row.case: row.cohort for row in held_out},
        published_scores=measured.scores.get(published or "", {}),
        challenger_scores=measured.scores[challenger],
        reused=measured.reused,
    )
    sha256 = parts.blobs.put_bytes(evaluation.model_dump_json().encode())
    mark_step(parts, held, step, sha256)
    return sha256


def _compared_with(parts: Parts, session: Session, work: Work) -> str | None:
    """Return the version that a challenger is judged against: what is published now, of a rerun what was then."""
    if work.spec.rerun_of is not None:
        original = work.spec.rerun_of
        judged = jobs.step_output(session, original, AGAIN) or jobs.step_output(session, original, STEP)
        if judged is not None:
            return read_evaluation(parts, judged).published
    return session.get_one(Experiment, work.experiment_id).published_version


def _ready(
    parts: Parts, work: Work, pin: Pin, measured: Measured, rows: list[SnapshotRow], versions: list[str]
) -> list[SnapshotRow]:
    """Have versions measured on these cases, and return the rows that they can be measured on.

    Only what was never measured needs its image: it is fetched, and left out if that, or its label, cannot be read.
    """
    unknown = measured.look_up(rows, versions)
    cases = {case.id: case for case in cases_of(parts, work, unknown, pin)}
    lost = {row.case for row in unknown if row.case not in cases}
    measured.ask(cases, versions)
    return [row for row in rows if row.case not in lost]


def _run(parts: Parts, work: Work, lease: Lease, step: str, measured: Measured) -> list[CaseResult]:
    """Have a bundle host score each version on the cases that it was not scored on before."""
    request = EvaluateRequest(
        bundle=str(work.bundle),
        cases=list(measured.cases.values()),
        labels=work.labels,
        versions={version: measured.files[version] for version in measured.asked},
        asked=measured.asked,
        cache=str(tensor_cache(parts, work.bundle_id)),
    )
    wanted = {(version, case) for version, cases in measured.asked.items() for case in cases}
    results: list[CaseResult] = []
    with (
        computing(
            parts,
            request,
            batch_need(parts, work.bundle_id, None),
            holder=f"evaluate:{work.claim.job_id}:{work.claim.n}",
            work=work.host_folder(step),
            bundle=work.bundle,
            check=lease.check,
        ) as host,
        lease.calls(host.kill),
    ):
        for message in host.messages():
            if isinstance(message, Failed):
                raise error_of(message)
            if isinstance(message, CaseResult):
                results.append(message)
    # A host is not trusted to have answered all that was asked, and nothing else.
    came = {(result.version, result.case) for result in results}
    if came != wanted:
        raise HostDiedError(f"{len(came & wanted)} of {len(wanted)} results came, and {len(came - wanted)} others.")
    return results


def _mean(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None
