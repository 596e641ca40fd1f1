"""`teachback vault`: the keys that values are sealed with. It opens the catalog and the key file itself."""

from infra.doors.cli.client import HomeOption
from infra.doors.cli.keys import opened
from infra.doors.cli.terminal import noun, terminal
from infra.services import people
from infra.services.operating import vault
from infra.services.operating.pages import HOME_ORG

app = noun("The encryption keys of stored credentials and signing secrets.", "teachback vault check")


@app.command()
def rotate(home: HomeOption = None) -> None:
    """Seal everything with a new key. Parts that run go on; a rotation that was killed is simply done again.

    Workers on other machines need the new key file before they open what was sealed since.
    """
    with opened(home) as parts:
        done = vault.rotate(parts, people.operator(HOME_ORG))
    terminal(stderr=True).print(f"Sealed {done} values with a new key. Back up the key file.", markup=False)


@app.command()
def check(home: HomeOption = None) -> None:
    """Say whether this machine's key file opens the installation's vault."""
    with opened(home) as parts:
        vault.check(parts)
    terminal(stderr=True).print("The key file opens the vault.", markup=False)
