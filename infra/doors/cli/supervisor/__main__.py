"""`python -m infra.doors.cli.supervisor FD LOCK`: started by the front, never by a person.

FD is this end of the conversation with the front, LOCK the descriptor that holds the home; the settings are in the
environment.
"""

import signal
import sys

from configs.settings import Settings
from infra.doors.cli.supervisor import lifelines
from infra.doors.cli.supervisor.addresses import choose_ports
from infra.doors.cli.supervisor.events import Conversation
from infra.doors.cli.supervisor.parts import api_address, parts_of
from infra.doors.cli.supervisor.supervise import Supervisor


def main() -> int:
    """Supervise until the front says stop or is gone."""
    settings = Settings()
    lifelines.adopt_orphans()
    ports = choose_ports(settings.home, host=settings.host, api=settings.port)
    supervisor = Supervisor(
        parts_of(settings, ports),
        home=settings.home,
        front=Conversation(int(sys.argv[1])),
        address=api_address(settings.host, ports.api),
    )
    signal.signal(signal.SIGTERM, supervisor.ask_to_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return 0 if supervisor.run() else 1


if __name__ == "__main__":
    sys.exit(main())
