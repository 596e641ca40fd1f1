"""The slot's process: `python -m infra.doors.realtime --slot ID`."""

import argparse
import logging
import signal
import sys
from threading import Event

from configs.errors import UpstreamError
from configs.settings import Settings
from infra.adapters.cache.scratch import use_scratch
from infra.doors.realtime.logs import log_to_file
from infra.doors.realtime.slot import EXIT_FAILED, SlotProcess
from infra.wiring import open_parts


def main() -> int:
    """Serve the slot until it is asked to end; returns the exit status."""
    arguments = argparse.ArgumentParser(prog="python -m infra.doors.realtime", description="Serve one realtime slot.")
    arguments.add_argument("--slot", required=True, help="The slot's id in the catalog.")
    slot_id: str = arguments.parse_args().slot
    settings = Settings()
    parts = open_parts(settings)
    use_scratch(settings.home / "work" / "tmp")
    log_to_file(settings.home / "logs", slot_id, parts.redactor)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        return SlotProcess(parts, slot_id, stop).run()
    except UpstreamError as error:
        logging.getLogger(__name__).error("not started", extra={"said": {"error": str(error)}})  # noqa: TRY400 - no trace: it is expected
        return EXIT_FAILED
    finally:
        parts.close()


if __name__ == "__main__":
    sys.exit(main())
