"""Which tests run in one process, and which come first, where `make test` uses several (`--dist loadfile`).

What uses the same servers goes to one process, so that they are started once: a start costs more than most tests.
What takes longest comes first, so that at the end every process still has something to do.
"""

from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Longest first. A name is a folder or file below `tests`; where several match, the longest name counts.
_UNITS = (
    # One installation; `up` ends it, so it comes last.
    ("crash", "e2e/test_guide_000.py", "e2e/test_guide_002.py", "e2e/test_up.py"),
    (
        "crash/test_killed_flow.py",
        "integration/orchestration",
        "integration/realtime/test_flow.py",
        "integration/tracking",
        "integration/delivery/test_tracking.py",
        "integration/delivery/test_elsewhere.py",
        "integration/delivery/test_shown.py",
        "integration/compute/test_serving.py",
    ),  # one Prefect, one MLflow
    (
        "contract/test_image_stores.py",
        "integration/images",
        "integration/api/test_object_stores.py",
        "integration/api/test_workspaces.py",
        "integration/batch/test_object_stores.py",
        "integration/realtime/test_object_stores.py",
    ),  # one of each object store
    ("e2e/test_demo.py",),
    ("unit/tasks/compute/prompts/test_learning.py",),
    ("integration/rounds/test_rounds_of_kinds.py",),
    ("integration/rounds/test_apps.py",),
    ("contract/test_hostile_bundle.py",),
    ("integration/realtime/test_slot.py",),
    ("integration/api/test_two_organisations.py",),
    ("integration/api/test_openapi.py",),
    ("contract/test_warm_host.py",),
    ("contract/test_bundle_hosts.py",),
    ("integration/compute/test_export.py",),
    ("crash/test_killed_saves.py",),
    ("integration/realtime/test_swaps_on_postgresql.py",),
    ("crash/test_full_disk.py",),
    ("unit/tasks/compute/inference/test_slabs.py",),
    ("contract/test_bundles_of_every_shape.py",),
    ("unit/tasks/compute/training/test_run.py",),
    ("integration/reconcile/test_attempts.py",),
    ("crash/test_killed_round.py",),
    ("integration/rounds/test_publishing.py",),
    ("integration/delivery/test_webhooks.py",),
    ("integration/selection/test_unspoken.py",),
    ("integration/api/test_hooks.py",),
    ("fuzz",),
    ("property",),
    ("integration/backup",),
    ("crash/test_table.py",),
)
_PLACES = {name: (number, place) for number, unit in enumerate(_UNITS) for place, name in enumerate(unit)}
_REST = (len(_UNITS), 0)


class OneProcessPerServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Hands whole units to processes, in the order of the tests that they collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        unit, _ = _place(file)
        return str(unit) if unit < len(_UNITS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Take the place of `--dist loadfile`'s own scheduler, which begins with the files of many tests."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return OneProcessPerServer(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests, the same in every process."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _place(item.nodeid.partition("::")[0]))


def _place(file: str) -> tuple[int, int]:
    """Return the unit of *file*, a path below the root, and its place there."""
    path = PurePosixPath(file).relative_to("tests")
    return next((_PLACES[name] for name in map(str, (path, *path.parents)) if name in _PLACES), _REST)
