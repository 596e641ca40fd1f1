"""A simulation replays labels: the same patients held out for all, nothing trained twice, going on after an end."""

import csv
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from configs.errors import InvalidRequestError, TrackingError
from configs.specs.simulation import SimulationSpec
from infra.adapters.catalog.tables import Image
from infra.doors.cli.simulated.picture import draw
from infra.doors.cli.simulated.report import show, write_csv
from infra.services import people
from infra.services.learning import simulations
from tasks.simulation.curves import Simulated
from tasks.simulation.run import simulate
from tests.builders import ORG
from tests.integration.simulation.conftest import ScoringInMemory
from tests.rounds_in_memory import Ward

SPEC = SimulationSpec(strategies=("random", "last", "entropy"), seeds=2, rounds=2, round_size=3)


def _simulate(ward: Ward, spec: SimulationSpec = SPEC, target: float | None = None) -> Simulated:
    return simulate(
        ward.parts,
        ward.experiment,
        ward.dataset,
        spec,
        folder=ward.folder / "simulation",
        target=target,
        say=lambda *_: None,
    )


class _HealthyAndNoMore(BaseHTTPRequestHandler):
    """A tracker that says it is well, and takes nothing."""

    def do_GET(self) -> None:
        """Answer nothing, well."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _keys(ward: Ward, cases: list[str]) -> list[str]:
    with ward.parts.catalog.read() as session:
        return sorted(session.get_one(Image, int(case)).key for case in cases)


def test_each_strategy_chooses_its_own_images_and_all_are_measured_on_the_same(
    ward: Ward, hosts: ScoringInMemory
) -> None:
    found = _simulate(ward)

    assert [(curve.strategy, curve.seed) for curve in found.curves] == [
        (strategy, seed) for strategy in SPEC.strategies for seed in (0, 1)
    ]
    assert {tuple(point.labels for point in curve.points) for curve in found.curves} == {(3, 6)}
    assert {tuple(cases) for asked in hosts.asked for cases in asked.values()} == {tuple(hosts.asked[0][""])}
    held_out = set(hosts.asked[0][""])
    assert (len(held_out), found.held_out, found.pool) == (2, 2, 10)

    trained = [_keys(ward, [case.id for case in request.cases]) for request in hosts.trained]
    free = _keys(ward, [str(image) for image in ward.images.values() if str(image) not in held_out])
    assert all(set(keys) <= set(free) for keys in trained)
    assert trained.count(free[-6:]) == 2, "`last`, with each seed"
    # Entropy begins with the seed's random images: those of `random` itself, so nothing is trained for it.
    made = {(tuple(keys), request.seed) for keys, request in zip(trained, hosts.trained, strict=True)}
    assert len(made) == len(trained) <= 2 * (2 + 3)
    for request in hosts.scored:
        assert len(request.images) == 7, "what is labelled already is not scored"
        assert request.weights


def test_it_goes_on_where_it_was_ended_and_leaves_no_weights(ward: Ward, hosts: ScoringInMemory) -> None:
    hosts.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        _simulate(ward)
    hosts.dies_at = None

    first = _simulate(ward)
    trained = len(hosts.trained)
    assert trained <= 2 * (2 + 3) + 1, "at the most what was under way is done again"
    assert _simulate(ward) == first
    assert len(hosts.trained) == trained
    assert not [*(ward.folder / "simulation").glob("*.safetensors")]


def test_rounds_of_another_size_choose_anew(ward: Ward, hosts: ScoringInMemory) -> None:
    sizes = {size: _simulate(ward, SPEC.model_copy(update={"round_size": size})) for size in (3, 2)}
    for size, found in sizes.items():
        assert {tuple(point.labels for point in curve.points) for curve in found.curves} == {(size, 2 * size)}
    assert {len(request.cases) for request in hosts.trained} == {2, 3, 4, 6}


def test_the_curves_are_kept_before_a_tracker_that_fails_is_told(ward: Ward) -> None:
    parts, caller, kept = ward.parts, people.operator(ORG), list[Simulated]()
    with ThreadingHTTPServer(("127.0.0.1", 0), _HealthyAndNoMore) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        parts.settings = parts.settings.model_copy(update={"mlflow_tracking_uri": uri})
        with pytest.raises(TrackingError, match="is none"):
            simulations.simulate(
                parts, caller, ward.dataset, ward.experiment, SPEC, target=None, say=lambda *_: None, keep=kept.append
            )
        server.shutdown()
    assert len(kept) == 1


def test_what_it_came_to_is_told_as_a_table_csv_and_a_picture(
    ward: Ward, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _simulate(ward, target=0.9)
    show(found)
    said = capsys.readouterr().out
    assert "0.500 ± 0.000" in said
    assert "not reached" in said

    write_csv(found, tmp_path / "curves.csv")
    rows = list(csv.reader((tmp_path / "curves.csv").open()))
    assert rows[0] == ["strategy", "seed", "labels", "mean_dice", "liver"]
    assert rows[1] == ["random", "0", "3", "0.500000", "0.500000"]
    assert len(rows) == 1 + 3 * 2 * 2
    draw(found, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_too_few_patients_are_refused_with_what_to_do(ward: Ward) -> None:
    with pytest.raises(InvalidRequestError, match=r"0 patients .* label more"):
        simulate(
            ward.parts,
            ward.experiment,
            _without_labels(ward),
            SPEC,
            folder=ward.folder / "simulation",
            target=None,
            say=lambda *_: None,
        )


def _without_labels(ward: Ward) -> str:
    ward.separate_evaluation("e1")
    return ward.elsewhere
