"""`python -m infra.doors.cli.supervisor FD`: started by the front, never by a person.

FD is this end of the conversation with the front; another inherited descriptor holds the home's lock; the settings are
in the environment.
"""

import logging
import signal
import sys

from configs.errors import TeachbackError
from configs.settings import Settings
from infra.doors.cli.supervisor import lifelines
from infra.doors.cli.supervisor.addresses import choose_ports
from infra.doors.cli.supervisor.events import Conversation, Event
from infra.doors.cli.supervisor.parts import api_address, parts_of
from infra.doors.cli.supervisor.supervise import Supervisor


def main() -> int:
    """Supervise until the front says stop or is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = Settings()
    front = Conversation(int(sys.argv[1]))
    lifelines.adopt_orphans()
    try:
        ports = choose_ports(settings.home, host=settings.host, api=settings.port)
    except TeachbackError as error:
        front.tell(Event(kind="failed", text=str(error)))
        return 1
    address = api_address(settings.host, ports.api)
    supervisor = Supervisor(parts_of(settings, ports), home=settings.home, front=front, address=address)
    signal.signal(signal.SIGTERM, supervisor.ask_to_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return 0 if supervisor.run() else 1


if __name__ == "__main__":
    sys.exit(main())
