"""`teachback restore`: puts a backup into an empty home, which `teachback up --home` then runs."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from infra.doors.cli.backup import PlaceArgument
from infra.doors.cli.client import HomeOption, JsonOption, settings_of
from infra.doors.cli.supervisor.lock import lock_home
from infra.doors.cli.terminal import lines, noun, show_json, terminal
from infra.services import people
from infra.services.operating import backups
from infra.services.operating.pages import HOME_ORG
from infra.wiring import open_parts

app = noun("Put a backup into an empty home.")

_MIB = 2**20


@app.command()
def restore(
    place: PlaceArgument,
    name: Annotated[str, typer.Option("--backup", metavar="NAME", help="Which one; default: the newest whole.")] = "",
    key_file: Annotated[
        Path | None, typer.Option("--key-file", exists=True, help="The key file, for a backup without keys.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only name the backups that are there.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore the newest backup into a home that does not exist yet or is empty; every file is checked by its hash.

    A restore that was interrupted is run again, with the same words; nothing starts on the home before it has ended.

    For example:

        teachback restore /mnt/backup/teachback --home /srv/teachback

        teachback up --home /srv/teachback
    """
    operator = people.operator(HOME_ORG)
    if show:
        for found in backups.names(operator, place):
            typer.echo(found)
        return
    settings = settings_of(home)
    lock = lock_home(settings.home)
    parts = open_parts(settings, restoring=True)
    try:
        with terminal(stderr=True).status("Restoring"):
            restored = backups.restore(parts, operator, place, name=name, key_file=key_file)
    finally:
        parts.close()
        os.close(lock)
    if as_json:
        show_json(restored.model_dump(mode="json"))
        return
    lines(
        [
            ("backup", restored.name),
            ("as it was at", datetime.fromtimestamp(restored.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
            ("files, each checked", f"{restored.files:,} ({restored.size / _MIB:,.1f} MiB)"),
            ("missing in it", len(restored.missing) or None),
        ]
    )
    terminal(stderr=True).print(f"Start it with: teachback up --home {settings.home}", markup=False)
