"""`--conf KEY VALUE`, any number of times, as `monailabel start_server` has it."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer
from typer.core import TyperCommand

ConfOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--conf",
        metavar="KEY VALUE",
        help="A setting; a field or bundle override of the rounds' training; what the app takes.",
    ),
]


class ConfCommand(TyperCommand):
    """Reads `--conf KEY VALUE`: Typer knows no repeated option of two values."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # Typer's Context is click's
        """Join what follows `--conf`, then parse."""
        joined: list[str] = []
        words = iter(args)
        for word in words:
            if word != "--conf":
                joined.append(word)
                continue
            key, value = next(words, ""), next(words, None)
            if value is None:
                raise typer.BadParameter("--conf takes a key and a value.")
            joined.append(f"--conf={key}={value}")
        return super().parse_args(ctx, joined)


def pairs_of(given: Sequence[str] | None) -> dict[str, str]:
    """Return what a command's `--conf` said, by key; the last word on a key counts."""
    return {key: value for key, _, value in (pair.partition("=") for pair in given or ())}
