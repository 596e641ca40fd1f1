"""Log lines without secrets and without patients.

Two nets: values that this process knows to be secret, and the shapes that secrets and identifiers have.
"""

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

HIDDEN = "[hidden]"
_SHORTEST = 4  # shorter values would blank ordinary words
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(authorization|proxy-authorization|cookie|set-cookie|x-api-key)(['\"]?\s*[:=]\s*).+"), r"\1\2"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 "),
    (re.compile(r"\btbt?_[\w-]{16,}"), ""),
    (re.compile(r"\bwhsec_[\w+/=-]{16,}"), ""),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), ""),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), ""),
    (re.compile(r"(?i)\b((?:\w*(?:secret|password|passwd|token|api_?key))['\"]?\s*[:=]\s*)['\"]?[^\s'\",&}]+"), r"\1"),
    (re.compile(r"(?<=://)[^/\s@]+@"), ""),
    (re.compile(r"\b[0-2](?:\.(?:0|[1-9]\d*)){5,}\b"), ""),  # a DICOM UID: PS3.5 section 9.1
)


class Redactor:
    """Replaces what must not be read; knows the secrets that it was told."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._lock = Lock()
        self.learn(*secrets)

    def learn(self, *values: str) -> None:
        """Remember values that no line may show; very short ones are left out."""
        with self._lock:
            self._secrets |= {value for value in values if len(value) >= _SHORTEST}

    def learn_document(self, text: str) -> None:
        """Remember a secret text and, where it is a JSON object, each of its values."""
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        parts = document.values() if isinstance(document, dict) else ()
        self.learn(text, *(part for part in parts if isinstance(part, str)))

    def redact(self, text: str) -> str:
        """Return the text with every known secret and everything shaped like one replaced."""
        # Longest first: one secret may be part of another, and would leave the rest of it readable.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        for pattern, kept in _PATTERNS:
            text = pattern.sub(kept + HIDDEN, text)
        return text


class RedactingFilter(logging.Filter):
    """Put it on handlers, not on loggers: a logger's filter does not see what its children pass up."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the message, its arguments and the traceback; the record always passes."""
        record.msg = self._redactor.redact(_message(record))
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor.redact(record.exc_text)
        return True


def guard(handlers: Iterable[logging.Handler], redactor: Redactor) -> None:
    """Put the filter on each handler that has none yet."""
    for handler in handlers:
        if not any(isinstance(found, RedactingFilter) for found in handler.filters):
            handler.addFilter(RedactingFilter(redactor))


def redact_file(path: Path, redactor: Redactor) -> None:
    """Rewrite a log line by line, if anything in it has to go; nobody may be writing it any more."""
    aside = path.with_name(f".{path.name}.redacted")
    changed = False
    with path.open(errors="replace") as old, aside.open("w") as new:
        for line in old:
            said = redactor.redact(line)
            changed = changed or said != line
            new.write(said)
    if changed:
        aside.replace(path)
    else:
        aside.unlink()


def guard_all(redactor: Redactor) -> None:
    """Put the filter on every handler that this process has by now: Prefect's send what they get to its server."""
    named = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for logger in (logging.root, *named):
        guard(logger.handlers, redactor)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        arguments: Any = record.args
        return f"{record.msg} {arguments}"
