"""Evaluate: published and challenger on the same cases of today, in one bundle host.

A case that a version was measured on before, with the same image and label, is not run again.

While there are too few evaluation cases the reported metric is prequential: each new training label is predicted by
the published model, which has not seen it, before a round trains on it for the first time.
"""

import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from configs.errors import BundleError, UnreadableError
from configs.wire.host import CaseResult, EvaluateRequest, Failed
from infra.adapters.cache.disk import Pin
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Experiment, ModelVersion
from infra.adapters.compute.failures import error_of
from infra.wiring import Parts
from tasks.devices.hold import computing
from tasks.devices.needs import batch_need
from tasks.publishing.gate import CaseScore, PairedCase
from tasks.rounds.evaluation.measured import Measured, Version
from tasks.rounds.records.result import MetricKind, VersionScores
from tasks.rounds.records.snapshot import Snapshot, SnapshotRow
from tasks.rounds.steps.train import read_trained, tensor_cache, weights_file
from tasks.rounds.steps.work import (
    Claim,
    Lease,
    Work,
    cases_of,
    mark_step,
    note_unread,
    open_work,
    read_snapshot,
    step_done,
)

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
        left_out: Cases that, or whose labels, cannot be read, or on which the network fails.
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
    left_out: list[str] = []

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
        HostError: If the bundle fails on a case, or can read none of those that the challenger is to be judged by.
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
    with parts.cache.pin() as pin:
        judging = _Judging(parts, work, lease, step, pin, Measured(parts, work, versions))
        evaluation = judging.of(snapshot, published, challenger)
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


class _Judging(NamedTuple):
    """What an evaluation is done with."""

    parts: Parts
    work: Work
    lease: Lease
    step: str
    pin: Pin
    measured: Measured

    def of(self, snapshot: Snapshot, published: str | None, challenger: str) -> Evaluation:
        """Measure both versions on the cases that say something about them."""
        held_out, fresh, proving = snapshot.side("evaluate"), list[SnapshotRow](), list[SnapshotRow]()
        trained = read_trained(self.parts, self.work.claim)
        unlearnt = trained.left_out if trained is not None else []
        training = [row for row in snapshot.side("train", "validate") if row.case not in unlearnt]
        kept = self.measured.kept
        self._ask(held_out, published, challenger)
        if len(kept(held_out)) < self.work.spec.gate.min_cases and published is not None:
            fresh = [row for row in training if row.fresh]
            self._ask(fresh, published)
        if kept(held_out):
            self._run()
        if not kept(held_out):  # there is none, or the bundle can read none
            proving = training[:MOST_PROVING]
            self._ask(proving, challenger)
            self._run()
        if [*held_out, *proving] and not kept([*held_out, *proving]):
            raise BundleError(
                f"The bundle can use none of the {len([*held_out, *proving])} cases that the challenger is to be judged"
                " by: look at its validate#preprocessing, and at sizes that its network takes; the job's log says where"
                " it fails"
            )
        scores = self.measured.scores
        return Evaluation(
            published=published,
            challenger=challenger,
            held_out=[row.case for row in kept(held_out)],
            prequential=[row.case for row in kept(fresh)],
            proving=[row.case for row in kept(proving)],
            cohorts={row.case: row.cohort for row in kept(held_out)},
            published_scores=scores.get(published or "", {}),
            challenger_scores=scores[challenger],
            reused=self.measured.reused,
            left_out=sorted(self.measured.left_out),
        )

    def _ask(self, rows: list[SnapshotRow], *asked: str | None) -> None:
        """Have versions measured on these cases.

        Only what was never measured needs its image: it is fetched, and left out if that, or its label, cannot be read.
        """
        versions = [version for version in dict.fromkeys(asked) if version is not None]
        unknown = self.measured.look_up(rows, versions)
        self.measured.ask(unknown, cases_of(self.parts, self.work, unknown, self.pin), versions)

    def _run(self) -> None:
        """Have a bundle host score each version on the cases that it was not scored on before."""
        measured, work = self.measured, self.work
        if not measured.asked:
            return
        request = EvaluateRequest(
            bundle=str(work.bundle),
            cases=list(measured.cases.values()),
            labels=work.labels,
            versions={version: measured.files[version] for version in measured.asked},
            asked=measured.asked,
            cache=str(tensor_cache(self.parts, work.bundle_id)),
        )
        results, unread = list[CaseResult](), set[str]()
        with (
            computing(
                self.parts,
                request,
                batch_need(self.parts, work.bundle_id, None),
                holder=f"evaluate:{work.claim.job_id}:{work.claim.n}",
                work=work.host_folder(self.step),
                bundle=work.bundle,
                check=self.lease.check,
            ) as host,
            self.lease.calls(host.kill),
        ):
            for message in host.messages():
                if isinstance(message, CaseResult):
                    results.append(message)
                elif isinstance(message, Failed):
                    unread.add(_unread(message, measured))
        measured.keep(results, unread)
        note_unread(self.parts, unread, reads_others=bool(results))


def _unread(failed: Failed, measured: Measured) -> str:
    """Return the case that a host could not read; any other failure is raised."""
    error = error_of(failed)
    if not isinstance(error, UnreadableError) or failed.id is None or failed.id not in measured.cases:
        raise error
    return failed.id


def _mean(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None
