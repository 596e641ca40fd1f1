"""What a person sees: lines, tables, JSON, and errors in one line."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

_WIDE = 240  # columns where no terminal says how many it has


class Terminal(Console):
    """A console whose reader may leave: a closed standard output silences it and ends nothing."""

    def on_broken_pipe(self) -> None:
        """Go on without a reader."""
        self.quiet = True


def terminal(*, stderr: bool = False) -> Terminal:
    """Return a console on standard output or error as they are now."""
    file = sys.stderr if stderr else sys.stdout
    return Terminal(stderr=stderr, highlight=False, soft_wrap=True, width=None if file.isatty() else _WIDE)


def noun(help_text: str, example: str = "") -> typer.Typer:
    """Return the Typer application of one noun; where it has verbs its help ends with an example."""
    shown = f"{help_text}\n\nFor example:\n\n    {example}" if example else help_text
    made = typer.Typer(help=shown, no_args_is_help=True, rich_markup_mode=None, add_completion=False)
    if example:  # a noun of one verb would else be taken for that verb, and its name for an argument
        made.callback()(lambda: None)
    return made


def listing_noun() -> typer.Typer:
    """Return the Typer application of a noun that lists by itself; its callback is its help."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)


def fail(message: str) -> int:
    """Say in one line what went wrong; returns the exit status."""
    line = " ".join(message.split())
    terminal(stderr=True).print(f"teachback: {line}", markup=False)
    return 1


def show_json(content: Any) -> None:
    """Print *content* as JSON, and nothing else, on standard output."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def show_table(
    title: str,
    columns: Mapping[str, Callable[[Any], object]],
    rows: Sequence[Any],
    *,
    none: str,
    as_json: object = None,
) -> None:
    """Print one line per row, or *none* where there are no rows.

    Args:
        title: Of the table.
        columns: Heading → what to show of a row; None is shown as a dash.
        rows: Whatever the columns read.
        none: What to say, and to do, when there is nothing.
        as_json: Print this as JSON instead, where it is not None.
    """
    if as_json is not None:
        show_json(as_json)
        return
    if not rows:
        terminal().print(none, markup=False)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(read(row)) for read in columns.values()))
    wide = terminal()
    wide.print(table, soft_wrap=False)


def lines(items: Iterable[tuple[str, object]]) -> None:
    """Print pairs of a name and its value, aligned."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in items:
        table.add_row(f"[bold]{name}[/bold]", _cell(value))
    terminal().print(table, soft_wrap=False)


def when(epoch_s: float | None) -> str | None:
    """Return a moment, in seconds since 1970, as it is shown: UTC, to the minute."""
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M")


def publication(number: int | None) -> str | None:
    """Return a publication's number as it is shown: `#3`, where a version's is `v3`; a rollback is one, too."""
    return None if number is None else f"#{number}"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    # A row is one line: names of files may hold line breaks, or what a terminal obeys.
    shown = "".join(each if each.isprintable() else " " for each in str(value))
    # What is in brackets would be taken for a style.
    return shown.replace("[", r"\[")
