"""`teachback demo`: the whole loop on sample data, played by an annotator who knows the truth."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from infra.doors.cli.client import HomeOption
from infra.doors.cli.installation import Installation, running, settings_for
from infra.doors.cli.play.annotator import Answer, mean_score
from infra.doors.cli.play.cases import Cases, make_cases
from infra.doors.cli.play.report import CAVEAT, Comparison, Round, comparison_table, rounds_of, rounds_table, summary
from infra.doors.cli.play.session import UNSEEN, Plan, Session
from infra.doors.cli.studies import DEFAULT_MODEL
from infra.doors.cli.terminal import fail, noun, terminal

# Far behind the cases that are annotated, so that no number is in both.
_FIRST_UNSEEN = 1001


@dataclass(frozen=True)
class Files:
    """Where the demo leaves what it found."""

    json: Path | None
    picture: Path | None


app = noun("Watch a model learn from labels, round by round, on sample data.")


@app.command()
def demo(
    home: HomeOption = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=20, help="Rounds to wait for.")] = 3,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the API; 0 = a free one.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="End after the table instead of staying up.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers of the table there.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw the rounds and one case there (PNG)."),
    ] = None,
) -> None:
    """Start everything, label sample cases through the HTTP API, and show what each round learned.

    The sample cases are warps of one real head, made on this machine. The demo then stays up with its addresses,
    until Ctrl-C. It exits with 1 when the final model does not beat what needs no model.

    For example:

        teachback demo

        teachback demo --home /tmp/demo --rounds 2 --exit --json table.json
    """
    plan = Plan(rounds=rounds)
    settings = settings_for(home, "127.0.0.1", port, insecure_network=False, changes={})
    console = terminal()
    failure = ""
    try:
        with running(settings) as installation:
            with console.status("Making sample cases: random warps of the MNI152 head"):
                cases = make_cases(settings.home / "demo", count=plan.images)
                unseen = make_cases(settings.home / "demo" / "unseen", count=UNSEEN, first=_FIRST_UNSEEN, labelled=True)
            failure = _play(installation, cases, unseen, plan, Files(json_file, picture))
            if not leave:
                _stay(installation)
    except KeyboardInterrupt:
        console.print("Stopped.")
    if failure:
        raise typer.Exit(fail(failure))


def _play(installation: Installation, cases: Cases, unseen: Cases, plan: Plan, files: Files) -> str:
    """Run the rounds and show the table; returns why they did not show what they are for, or nothing."""
    console = terminal()
    with installation.client() as client:
        session = Session(client, cases, unseen, plan, console)
        annotator = session.open(f"demo {secrets.token_hex(3)}", DEFAULT_MODEL)
        start = session.measure(annotator)
        session.label(annotator)
        final = session.measure(annotator)
        labels = list(cases.labels.values())
        done = rounds_of(client, annotator.experiment)
    console.print(rounds_table(done, labels), soft_wrap=False)
    found = session.compare(mean_score(start), mean_score(final))
    console.print(comparison_table(found, labels), soft_wrap=False)
    console.print(CAVEAT, markup=False)
    if files.json is not None:
        files.json.write_text(summary(done, found).model_dump_json(indent=2) + "\n")
    if files.picture is not None:
        _draw(files.picture, done, found, unseen, start, final)
    return found.failure()


def _draw(
    target: Path,
    rounds: list[Round],
    found: Comparison,
    unseen: Cases,
    start: Mapping[str, Answer],
    final: Mapping[str, Answer],
) -> None:
    from infra.doors.cli.play.picture import draw  # noqa: PLC0415 - matplotlib takes a second to import

    image = next(iter(start))
    maps = {
        "truth": unseen.true_labels(image),
        "before the first round": start[image].labels,
        "after the last round": final[image].labels,
    }
    draw(target, rounds, found, unseen.image(image).array, maps)


def _stay(installation: Installation) -> None:
    console = terminal()
    console.print("Everything stays up. Ctrl-C ends it all.")
    for name, address in installation.addresses():
        console.print(f"  {name:<11} {address}", markup=False)
    installation.front.wait_end()
