"""Libraries are imported as if nobody could plot; whoever wants to, later, can."""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from tasks.compute import lean

ASKS = """
from importlib.metadata import PackageNotFoundError, version

try:
    import matplotlib
    imported = True
except ModuleNotFoundError:
    imported = False
try:
    installed = version("matplotlib")
except PackageNotFoundError:
    installed = None
others = version("numpy")
"""


def test_what_is_imported_with_a_handler_finds_no_matplotlib_and_everybody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_handler_that_asks.py").write_text(ASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)

    asked = lean.import_handler("a_handler_that_asks")

    assert (asked.imported, asked.installed, asked.others) == (False, None, version("numpy"))
    assert find_spec("matplotlib") is not None
    assert version("matplotlib")
