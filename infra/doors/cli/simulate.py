"""`teachback simulate`: a labelled data set, replayed by several strategies.

It opens the home, as `demo` does: it runs for hours, is an engineer's own and nobody else's job, and what it leaves are
files on the machine where it ran. Where an installation runs on the home, both share its devices.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from configs.errors import InvalidRequestError
from configs.specs.simulation import SimulationSpec
from configs.specs.train import TrainSpec
from infra.doors.cli.client import HomeOption, JsonOption
from infra.doors.cli.keys import opened
from infra.doors.cli.simulated.report import show, write_csv
from infra.doors.cli.supervisor.addresses import read_ports
from infra.doors.cli.supervisor.lock import holder
from infra.doors.cli.supervisor.parts import with_embedded
from infra.doors.cli.terminal import noun, show_json, terminal
from infra.services import people
from infra.services.learning import simulations
from infra.services.operating.pages import HOME_ORG
from tasks.simulation.curves import Point, Simulated

app = noun("Replay a labelled data set as if it were being annotated.")


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - each is an option of the command
    dataset: Annotated[str, typer.Option("--dataset", help="Name or id of the labelled data set.")],
    strategies: Annotated[
        str, typer.Option("--strategies", help="Names, with commas between.")
    ] = "random,diversity,clasp",
    experiment: Annotated[
        str,
        typer.Option("--experiment", help="Whose bundle and label names; default: the only one that learns from it."),
    ] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often each strategy is replayed.")] = 3,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of each.")] = 5,
    round_size: Annotated[int, typer.Option("--round-size", min=1, help="Labels of a round.")] = 5,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Of each training; default: the bundle's.")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", help="Count the labels until the metric is this; default: 95 % of the best end."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where curves.csv and curves.png go.")] = Path(
        "simulation"
    ),
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many labels each strategy would have needed, by the labels that there are.

    Each strategy chooses image after image of those that are labelled; after each round a model is trained anew and
    measured on the same patients, who are never chosen. Strategies that need a trained model begin with the seed's
    random images. The same command goes on where it was ended. Bundle hosts start faster while `teachback up` runs on
    the home, and MLflow then has the curves, too.

    For example:

        teachback simulate --dataset studies --strategies random,diversity,clasp --seeds 3 --rounds 4
    """
    spec = _spec(strategies, seeds, rounds, round_size, epochs)
    console, trainings = terminal(stderr=True), len(spec.strategies) * seeds * rounds
    with opened(home) as parts, console.status(f"Up to {trainings} trainings") as status:
        ports = read_ports(parts.settings.home)
        if holder(parts.settings.home):
            parts.settings = with_embedded(parts.settings, ports)

        def say(strategy: str, seed: int, number: int, point: Point) -> None:
            """Say what came of one training."""
            status.update(f"{strategy}, seed {seed}, round {number} of {rounds}: {point.mean:.3f}")
            if not console.is_terminal:
                console.print(
                    f"{strategy}, seed {seed}, round {number}: {point.labels} labels, {point.mean:.4f}", markup=False
                )

        caller = people.operator(HOME_ORG)
        found, tracked = simulations.simulate(
            parts, caller, dataset, experiment, spec, target=target, say=say, keep=partial(_leave, to=to)
        )
    if as_json:
        show_json(found.model_dump(mode="json") | {"summaries": [each.model_dump() for each in found.summaries()]})
        return
    show(found)
    where = (
        "and in MLflow" if tracked else "and not in MLflow: none answers; the same command writes it while `up` runs"
    )
    console.print(f"{to / 'curves.csv'}, {to / 'curves.png'}, {where}.", markup=False)


def _spec(strategies: str, seeds: int, rounds: int, round_size: int, epochs: int | None) -> SimulationSpec:
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    try:
        return SimulationSpec(
            strategies=tuple(dict.fromkeys(names)),
            seeds=seeds,
            rounds=rounds,
            round_size=round_size,
            train=TrainSpec(epochs=epochs),
        )
    except ValidationError as error:
        raise InvalidRequestError(error.errors()[0]["msg"]) from None


def _leave(found: Simulated, to: Path) -> None:
    from infra.doors.cli.simulated.picture import draw  # noqa: PLC0415 - matplotlib takes a second to import

    to.mkdir(parents=True, exist_ok=True)
    write_csv(found, to / "curves.csv")
    draw(found, to / "curves.png")
