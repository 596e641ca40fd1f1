"""The `teachback` command: one noun or verb per module, imported when it is used."""

import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from configs.errors import TeachbackError
from infra.doors.cli.terminal import fail


class _Noun(NamedTuple):
    module: str
    help: str
    home: bool  # whether it opens the home folder instead of asking over HTTP


NOUNS: dict[str, _Noun] = {
    "up": _Noun("up", "Start every part on this machine and keep it running.", True),
    "demo": _Noun("demo", "Watch a model learn from labels, round by round, on sample data.", True),
    "status": _Noun("status", "How things are: counts, loops, realtime slots.", False),
    "datasets": _Noun("datasets", "The image stores.", False),
    "images": _Noun("images", "Images that nobody is to label: skipped, listed, cleared.", False),
    "labels": _Noun("labels", "Labels, version by version: history, review, quarantine.", False),
    "purge": _Noun("purge", "Remove for good what was deleted.", False),
    "experiments": _Noun("experiments", "Bundles with their data sets and labels.", False),
    "jobs": _Noun("jobs", "Trainings and annotation loops; cancel one.", False),
    "rounds": _Noun("rounds", "What each round learned, and whether it was published.", False),
    "scores": _Noun("scores", "How much labelling each image would teach.", False),
    "simulate": _Noun("simulate", "Replay labels: which strategy would have needed fewer.", True),
    "models": _Noun("models", "Model versions, and which one is served.", False),
    "tracking": _Noun("tracking", "What MLflow shows; write it again.", False),
    "hooks": _Noun("hooks", "Webhooks: who is told, and which PACS tells us.", False),
    "bundles": _Noun("bundles", "MONAI bundles that experiments can use.", False),
    "apps": _Noun("apps", "Models written in Python: begin one, register it.", False),
    "sample": _Noun("sample", "Write sample cases made from real anatomy.", True),
    "keys": _Noun("keys", "API keys: create, list, revoke.", True),
    "worker": _Noun("worker", "Run rounds or realtime slots for an installation elsewhere.", True),
    "vault": _Noun("vault", "Encryption keys of stored credentials: rotate, check.", True),
    "backup": _Noun("backup", "Copy what cannot be made again, while everything runs.", True),
    "restore": _Noun("restore", "Put a backup into an empty home.", True),
    "doctor": _Noun("doctor", "Check this machine and this installation.", True),
}

_EXAMPLES = """Continual learning for medical-image annotation.

First steps:

    teachback demo                                     watch the whole loop, about five minutes

    teachback up --studies ~/scans --labels liver      your own images

    teachback status                                   from a second terminal

`teachback NOUN --help` says more. Nouns ask the server over HTTP: at --url or TEACHBACK_URL, with --key or
TEACHBACK_API_KEY; without them the installation of this machine's home folder is meant.
"""


class _LazyNoun(TyperGroup):
    """Shows its help line at once and imports its module only when it is used: `--help` stays fast."""

    def __init__(self, name: str, noun: _Noun) -> None:
        super().__init__(name=name, help=noun.help, short_help=noun.help)
        self._noun = noun
        self.rich_help_panel = "On this machine" if noun.home else "Over HTTP"

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse with the real command, whose own context this becomes."""
        module = import_module(f"infra.doors.cli.{self._noun.module}")
        return typer.main.get_command(module.app).make_context(info_name, args, parent=parent, **extra)


class _Nouns(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, noun in NOUNS.items():
            self.add_command(_LazyNoun(name, noun), name)


# What shells and argparse take for a command that was called wrongly.
_USAGE = 2

app = typer.Typer(cls=_Nouns, help=_EXAMPLES, rich_markup_mode=None, add_completion=False)


@app.callback(invoke_without_command=True)
def _teachback(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error, exit status 1, or 2 for wrong usage."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except typer.TyperException as error:
        said = str(error)
        if said.startswith("Usage:"):  # a noun without a verb: its help is the answer
            typer.echo(said, err=True)
        else:
            fail(f"{error.format_message()} See `teachback --help`.")
        sys.exit(_USAGE)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except TeachbackError as error:
        sys.exit(fail(str(error)))
