"""Log lines without secrets."""

import logging
from io import StringIO
from pathlib import Path

import pytest

from infra.adapters.security.redact import Redactor, guard, guard_all, redact_file
from infra.adapters.security.tokens import new_key


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("Authorization: Bearer abcdef123456", "abcdef123456"),
        ("headers={'authorization': 'Basic cmVhZGVyOnB3'}", "cmVhZGVyOnB3"),
        ("GET http://reader:pa55@pacs/dicom-web", "pa55"),
        ("series 1.2.826.0.1.3680043.8.498.123 is gone", "3680043"),
        ("client_secret=hunter22&x=1", "hunter22"),
        ('{"ngc_api_key": "hunter22"}', "hunter22"),
    ],
)
def test_what_is_shaped_like_a_secret_is_hidden(line: str, hidden: str) -> None:
    assert hidden not in Redactor().redact(line)


@pytest.mark.parametrize(
    "line", ["round 3 of job 0b8f7a1e-5d0e-4a3e-9f0e-3c5f1f6f0a11 Done", "version 1.2.3.4", "http://pacs:8042/dicom"]
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert Redactor().redact(line) == line


def test_a_key_is_hidden_wherever_it_stands() -> None:
    key = new_key()
    assert key not in Redactor().redact(f"refused {key}")


def test_messages_arguments_and_tracebacks_pass_the_filter() -> None:
    written = StringIO()
    handler = logging.StreamHandler(written)
    guard([handler], Redactor(["pa55word"]))
    guard([handler], Redactor(["pa55word"]))
    assert len(handler.filters) == 1
    logger = logging.getLogger("tests.redact")
    logger.addHandler(handler)
    try:
        int("pa55word")
    except ValueError:
        logger.exception("could not log in with %s", "pa55word")
    logger.warning("100 % of %s", "pa55word", "odd")
    assert "pa55word" not in written.getvalue()
    assert "Traceback" in written.getvalue()


def test_every_handler_of_every_logger_is_guarded() -> None:
    said: list[str] = []

    class Sending(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.getLogger("teachback.tests.sending")
    logger.propagate = False
    logger.addHandler(Sending())
    guard_all(Redactor(["pa55word"]))
    guard_all(Redactor(["pa55word"]))
    logger.error("login with %s", "pa55word")
    assert said == ["login with [hidden]"]
    assert len(logger.handlers[0].filters) == 1


def test_a_log_that_a_child_wrote_is_redacted_line_by_line_and_a_clean_one_is_left(tmp_path: Path) -> None:
    said, clean = tmp_path / "log.txt", tmp_path / "clean.txt"
    said.write_text("epoch 1\nread /x/1.2.826.0.1.3680043.8.498.7/a with pa55word\nepoch 2\n")
    clean.write_text("epoch 1\n")
    untouched = clean.stat().st_ino
    for path in (said, clean):
        redact_file(path, Redactor(["pa55word"]))
    assert said.read_text() == "epoch 1\nread /x/[hidden]/a with [hidden]\nepoch 2\n"
    assert clean.stat().st_ino == untouched
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.txt", "log.txt"]
