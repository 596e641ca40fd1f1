"""`teachback backup`: copies what cannot be made again, while everything runs."""

from typing import Annotated

import typer

from infra.doors.cli.client import HomeOption, JsonOption
from infra.doors.cli.keys import opened
from infra.doors.cli.terminal import lines, noun, show_json, terminal
from infra.services import people
from infra.services.operating import backups
from infra.services.operating.pages import HOME_ORG

app = noun("Copy what cannot be made again, while everything runs.")

PlaceArgument = Annotated[
    str, typer.Argument(metavar="DIR|URL", help="A folder, or a URL that fsspec writes to, such as s3://bucket/folder.")
]
_MIB = 2**20


@app.command()
def backup(
    place: PlaceArgument,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Leave so many backups there.")] = None,
    keys: Annotated[bool, typer.Option(help="Whether the key file goes into it.")] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the catalog, labels, weights, bundles and keys to DIR or URL; what is there already is not copied again.

    Nothing has to stop for it: every label that was acknowledged before it began is in it. It holds labels and
    keys, so whoever can read it can read them. Exits with 1 when the installation itself lacks a file.

    For example:

        teachback backup /mnt/backup/teachback --keep 30

        teachback backup s3://hospital-backups/teachback --no-keys
    """
    with opened(home) as parts, terminal(stderr=True).status("Copying"):
        taken = backups.back_up(parts, people.operator(HOME_ORG), place, with_keys=keys, keep=keep)
    if as_json:
        show_json(taken.model_dump(mode="json"))
    else:
        lines(
            [
                ("backup", taken.name),
                ("files in it", f"{taken.files:,} ({taken.size / _MIB:,.1f} MiB)"),
                ("copied now", f"{taken.new_files:,} ({taken.new_size / _MIB:,.1f} MiB)"),
                *([("files of older backups removed", f"{taken.removed:,}")] if keep else []),
            ]
        )
    if taken.missing:
        terminal(stderr=True).print(
            f"teachback: {len(taken.missing)} files that the catalog names are missing or damaged in the installation"
            f" itself, the first is {taken.missing[0]}: restore them from an earlier backup.",
            markup=False,
        )
        raise typer.Exit(1)
