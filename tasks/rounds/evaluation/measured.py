"""Scores of versions on cases: looked up first, asked for where unknown, kept for the next time."""

import hashlib
import json
from collections.abc import Collection, Sequence

from pydantic import BaseModel, ConfigDict

from configs.errors import HostDiedError
from configs.wire.host import Case, CaseResult
from infra.adapters.catalog import scores as catalog
from infra.wiring import Parts
from tasks.publishing.gate import CaseScore
from tasks.rounds.records.snapshot import SnapshotRow
from tasks.rounds.steps.work import Work

_FORMAT = 1
"""Raised when the same image, label and weights would be scored otherwise."""


class Version(BaseModel):
    """A model version: its id, the hash of its weights (None = the bundle's own), and their file."""

    model_config = ConfigDict(frozen=True)

    id: str
    weights: str | None
    file: str


class Measured:
    """What is known, and what has to be measured, of some versions.

    Attributes:
        scores: By version and case.
        asked: By version, the cases that have to be measured; a version without any is not there.
        cases: Those cases.
        files: Weights by version.
        reused: How many scores were known already.
        left_out: Cases that cannot be measured, since they or their labels cannot be read.
    """

    def __init__(self, parts: Parts, work: Work, versions: Sequence[Version]) -> None:
        self._parts, self._work = parts, work
        self._weights = {version.id: version.weights or "" for version in versions}
        self._keys: dict[tuple[str, str], str] = {}
        self.scores: dict[str, dict[str, CaseScore]] = {version.id: {} for version in versions}
        self.asked: dict[str, list[str]] = {}
        self.cases: dict[str, Case] = {}
        self.files = {version.id: version.file for version in versions}
        self.reused = 0
        self.left_out: set[str] = set()

    def look_up(self, rows: Sequence[SnapshotRow], versions: Sequence[str]) -> list[SnapshotRow]:
        """Take what is known of these cases; return those of which something is not."""
        keys = {(version, row.case): self._key(version, row) for row in rows for version in versions}
        self._keys.update(keys)
        with self._parts.catalog.read() as session:
            known = catalog.known(session, [key for key in keys.values() if key])
        for (version, case), key in keys.items():
            if key in known:
                self.scores[version][case] = CaseScore.model_validate(known[key])
                self.reused += 1
        return [row for row in rows if any(row.case not in self.scores[version] for version in versions)]

    def ask(self, rows: Sequence[SnapshotRow], cases: Sequence[Case], versions: Sequence[str]) -> None:
        """Have rows measured, each for the versions of which that is not known; what has no case is left out."""
        self.cases.update({case.id: case for case in cases})
        self.left_out.update(row.case for row in rows if row.case not in self.cases)
        for version in versions:
            unknown = [case.id for case in cases if case.id not in self.scores[version]]
            if unknown:
                self.asked[version] = [*self.asked.get(version, []), *unknown]

    def kept(self, rows: Sequence[SnapshotRow]) -> list[SnapshotRow]:
        """Return those rows that are not left out."""
        return [row for row in rows if row.case not in self.left_out]

    def keep(self, results: Sequence[CaseResult], unread: Collection[str]) -> None:
        """Take what a host measured, and keep it for later rounds; what it could not read is left out.

        Raises:
            HostDiedError: If that is not what was asked for.
        """
        # A host is not trusted to have answered all that was asked, and nothing else.
        came = {(result.version, result.case) for result in results}
        wanted = {(version, case) for version, cases in self.asked.items() for case in cases}
        missing = {(version, case) for version, case in wanted - came if case not in unread}
        if missing or came - wanted:
            raise HostDiedError(
                f"{len(missing)} of {len(wanted)} results are missing, and {len(came - wanted)} others came."
            )
        self.left_out.update(unread)
        self.asked, self.cases = {}, {}
        kept = {}
        for result in results:
            score = CaseScore(
                per_label=result.per_label,
                mean=result.mean,
                empty=result.empty,
                finite=result.finite,
                metric=result.metric,
            )
            self.scores[result.version][result.case] = score
            key = self._keys[result.version, result.case]
            if key:
                kept[key] = score.model_dump(mode="json")
        with self._parts.catalog.write() as session:
            catalog.keep(session, kept)

    def _key(self, version: str, row: SnapshotRow) -> str:
        """Return the hash of everything that decides a score; empty where the image's content is not known."""
        if not row.image_fingerprint:
            return ""
        decides = {
            "format": _FORMAT,
            "bundle": self._work.bundle_id,
            "weights": self._weights[version],
            "labels": self._work.labels,
            "image": [row.image, row.image_fingerprint],
            "label": [row.label_sha256, row.names, row.annotated],
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
