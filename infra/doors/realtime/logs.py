"""The slot's log: one JSON object a line, without secrets; what is logged names catalog ids only."""

import json
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from infra.adapters.security.redact import RedactingFilter, Redactor

# With the older ones 40 MiB a slot.
MAX_BYTES = 10 * 2**20
KEPT = 3


class JsonLines(logging.Formatter):
    """Writes a record as one line; a record's `said` is a mapping of further values."""

    def __init__(self, slot_id: str) -> None:
        super().__init__()
        self._slot_id = slot_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "slot": self._slot_id,
            "event": record.getMessage(),
        }
        said = getattr(record, "said", None)
        if isinstance(said, dict):
            line.update(said)
        if record.exc_text:
            line["trace"] = record.exc_text  # the filter has redacted it
        return json.dumps(line, default=str)


def log_to_file(folder: Path, slot_id: str, redactor: Redactor) -> None:
    """Send this process's log to `<folder>/slot-<id>.jsonl`, 10 MiB at most, three older ones kept."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(folder / f"slot-{slot_id}.jsonl", maxBytes=MAX_BYTES, backupCount=KEPT)
    handler.setFormatter(JsonLines(slot_id))
    handler.addFilter(RedactingFilter(redactor))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
