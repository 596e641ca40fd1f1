"""The flow's hook and its weight; the flow itself runs in tests/integration/realtime."""

import inspect
import subprocess
import sys
from pathlib import Path

from flows.realtime_inference import realtime_inference, switch_off

REPOSITORY = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "monai", "lightning", "highdicom", "SimpleITK", "mlflow", "fastapi")


def test_the_hook_has_the_names_by_which_prefect_calls_it() -> None:
    assert list(inspect.signature(switch_off).parameters) == ["flow", "flow_run", "state"]
    assert realtime_inference.on_cancellation_hooks == [switch_off]


def test_the_babysitter_stays_light() -> None:
    code = f"import sys, flows.realtime_inference; print([name for name in {HEAVY} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True, text=True)

    assert said.stdout.strip() == "[]"
