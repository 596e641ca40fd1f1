"""`teachback keys`: opens the catalog itself, since the first key cannot be asked for with a key."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from infra.doors.cli.client import HomeOption, JsonOption, settings_of
from infra.doors.cli.terminal import noun, show_table, terminal, when
from infra.services import people
from infra.services.callers import Role
from infra.services.operating.pages import HOME_ORG
from infra.wiring import Parts, open_parts

app = noun(
    "API keys: shown once, stored hashed, revocable.", "teachback keys create --name 'Reading room' --role annotator"
)


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="Who or what will use it.")],
    org: Annotated[str, typer.Option("--org", help="Organisation; made when it is new.")] = HOME_ORG,
    role: Annotated[
        Role, typer.Option("--role", help="What it may do; each role may do all of the ones before.")
    ] = Role.ANNOTATOR,
    home: HomeOption = None,
) -> None:
    """Print a new key, alone, on standard output. It is shown now and never again.

    For example:

        teachback keys create --name "Dr. Ada" --role annotator

        export TEACHBACK_API_KEY=$(teachback keys create --name scripts --role engineer)
    """
    with opened(home) as parts:
        made = people.create_key(parts, people.operator(HOME_ORG), name=name, role=role, org=org)
    typer.echo(made.secret)


@app.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List every key of this installation: never the secret, which nobody knows."""
    with opened(home) as parts:
        rows = [
            {
                "id": key.id,
                "name": key.name,
                "org": key.org,
                "role": key.role,
                "created": when(key.created_at),
                "used": when(key.used_at),
                "revoked": when(key.revoked_at),
            }
            for key in people.list_keys(parts, people.operator(HOME_ORG))
        ]
    columns = {heading: (lambda row, heading=heading: row[heading]) for heading in rows[0]} if rows else {}
    show_table(
        "Keys",
        columns,
        rows,
        none="No keys yet: `teachback keys create --name NAME`.",
        as_json=rows if as_json else None,
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `teachback keys list` shows it.")],
    home: HomeOption = None,
) -> None:
    """End a key, and every token given for it, at once."""
    with opened(home) as parts:
        people.revoke_key(parts, people.operator(HOME_ORG), key_id)
    terminal(stderr=True).print(f"Revoked {key_id}.", markup=False)


@contextmanager
def opened(home: Path | None) -> Iterator[Parts]:
    """Open the installation's catalog and key file."""
    parts = open_parts(settings_of(home))
    try:
        parts.catalog.migrate()
        yield parts
    finally:
        parts.close()
